"""TLS in front of a server without: tls_front.py CERTIFICATE KEY PORT. Says where it listens, and passes on bytes."""
import socket
import ssl
import sys
import threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])


def requests(front, back):
    """One direction of a connection, in its own thread: the end of one side is the end of the other."""
    try:
        while data := front.recv(65536):
            back.sendall(data)
    except OSError:
        pass
    try:
        back.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def serve(plain):
    try:
        front = context.wrap_socket(plain, server_side=True)
        back = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
    except OSError:
        plain.close()
        return
    threading.Thread(target=requests, args=(front, back), daemon=True).start()
    try:
        while data := back.recv(65536):
            front.sendall(data)
        front.unwrap()
    except (OSError, ValueError):
        pass
    for end in (front, back):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(f"listening on {listener.getsockname()[1]}", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
