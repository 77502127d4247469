// Takes callbacks, and reads them with the official JavaScript SDK of CloudEvents.
//
//	node cloudevents_callback.js PACKAGE
//
// Prints "listening PORT", and then a line of JSON for each event that the SDK read and found valid, or what it
// had against it.
"use strict";
const http = require("node:http");
const path = require("node:path");

const [folder] = process.argv.slice(2);
globalThis.self = globalThis; // the bundle is for browsers, too
const { HTTP } = require(path.join(folder, "bundles", "cloudevents.js"));

function read(headers, body) {
	try {
		const event = HTTP.toEvent({ headers, body });
		event.validate();
		return JSON.stringify(event);
	} catch (error) {
		return JSON.stringify({ refused: String(error) });
	}
}

const server = http.createServer((request, response) => {
	const parts = [];
	request.on("data", (part) => parts.push(part));
	request.on("end", () => {
		console.log(read(request.headers, Buffer.concat(parts).toString()));
		response.writeHead(204).end();
	});
});
server.listen(0, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
