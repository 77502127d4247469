// Sends a batch of events to all who subscribe to their type, waits for what becomes of them, and calls a
// service: with Node's fetch.
//
//	node events.mjs http://127.0.0.1:8080 order.created
//
// Source and id say which events they are: sent again, because no answer came, they are the same ones. All of a
// batch are accepted, or none.
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

const TRIES = 5;
const [base, type] = process.argv.slice(2);
if (!type) {
	console.error("usage: events.mjs URL TYPE");
	process.exit(2);
}

async function json(response) {
	if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
	return response.json();
}

async function send(events) {
	for (let left = TRIES - 1; ; left--) {
		const response = await fetch(`${base}/v1/events`, {
			method: "POST",
			headers: { "Content-Type": "application/cloudevents-batch+json" },
			body: JSON.stringify(events),
		}).catch((error) => {
			if (left === 0) throw error;
		});
		if (response && ((response.status !== 429 && response.status !== 503) || left === 0)) return json(response);
		await pause(1000 * Number(response?.headers.get("Retry-After") ?? 1));
	}
}

const sent = await send([1, 2, 3].map((total) => ({
	specversion: "1.0",
	id: randomUUID(),
	source: "/examples/node",
	type,
	data: { total },
})));
for (const { location } of sent) {
	console.log("accepted:", location);
	console.log("became:", JSON.stringify(await json(await fetch(`${base}${location}?wait=30s`))));
}
console.log("hello:", JSON.stringify(await json(await fetch(`${base}/hello?name=Node`))));
