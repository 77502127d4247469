// Sends CloudEvents by the official JavaScript SDK, in its three modes.
//
//	node cloudevents_sdk.js PACKAGE URL TYPE
//
// PACKAGE is the unpacked package `cloudevents`. Its bundle has all that it needs but its transport, which needs
// nothing. Prints a line of JSON for each answer: what was sent, and what came.
"use strict";
const path = require("node:path");

const [folder, url, type] = process.argv.slice(2);
globalThis.self = globalThis; // the bundle is for browsers, too
const { CloudEvent, HTTP, Mode, emitterFor } = require(path.join(folder, "bundles", "cloudevents.js"));
const { httpTransport } = require(path.join(folder, "dist", "transport", "http", "index.js"));

const event = (id, more) => new CloudEvent({
	id, type, source: "/sdk", time: "2026-11-21T09:15:02.123Z", dataschema: "https://example.com/schema", rank: 7,
	...more,
});

function say(how, answer) {
	console.log(JSON.stringify({ how, answer: typeof answer === "string" ? JSON.parse(answer) : answer }));
}

async function post(how, message) {
	const response = await fetch(url, { method: "POST", headers: message.headers, body: message.body });
	say(how, { status: response.status, body: await response.json() });
}

async function main() {
	const all = [
		["json", { data: { n: 1, text: "caf\u00e9" }, subject: "17" }],
		["text", { data: "plain", datacontenttype: "text/plain" }],
		["bytes", { data: new Uint8Array([0, 1, 255]), datacontenttype: "application/octet-stream" }],
		["none", {}],
	];
	for (const [mode, name] of [[Mode.BINARY, "binary"], [Mode.STRUCTURED, "structured"]]) {
		const emit = emitterFor(httpTransport(url), { mode });
		for (const [kind, more] of all) {
			if (mode === Mode.BINARY && kind === "none") continue; // its transport cannot send no body
			say(`${name}-${kind}`, (await emit(event(`${name}-${kind}`, more))).body);
		}
	}
	const batch = all.map(([kind, more]) => event(`batch-${kind}`, more));
	await post("batch", {
		headers: { "Content-Type": "application/cloudevents-batch+json" },
		body: JSON.stringify(batch.map((one) => JSON.parse(HTTP.structured(one).body))),
	});
	// What it takes for an event of its own, we take, too, and give back as the same.
	await post("again", HTTP.structured(event("structured-json", all[0][1])));
	// What it does not let through, unless it is told not to look, we do not either.
	await post("bad", HTTP.structured(new CloudEvent({ id: "bad", type, source: "" }, false)));
}

main();
