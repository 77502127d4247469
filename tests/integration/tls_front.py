"""TLS in front of a server without: tls_front.py CERTIFICATE KEY PORT. Says where it listens, and passes on bytes.
All in one thread: a connection's two directions share the state of its TLS, which no two threads may touch at once."""
import asyncio
import ssl
import sys


async def pass_on(reader, writer):
    """One direction; its end is the end of the other one's side."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()


async def serve(front_reader, front_writer):
    try:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[3]))
    except OSError:
        front_writer.close()
        return
    await asyncio.gather(pass_on(front_reader, back_writer), pass_on(back_reader, front_writer))


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
