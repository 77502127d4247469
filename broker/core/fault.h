/* Bugs that can be switched on, each a mistake that this core could plausibly
 * have. The simulation runs with every one of them in turn and must find it: a
 * checker that has never failed proves nothing. Only tests/ call brk_core_break;
 * in a broker none is, and a test of one is one predictable branch.
 */
#ifndef BROKER_CORE_FAULT_H
#define BROKER_CORE_FAULT_H

#include <stdint.h>

struct brk_core;

/* name, what the broken core does */
#define BRK_FAULTS(X) \
	X(OVER_CREDIT, "dispatches beyond a worker's credit") \
	X(IGNORE_RETRACTION, "goes on using credit that a worker took back") \
	X(DISPATCH_TO_DRAINING, "dispatches to a worker whose DRAIN it answered") \
	X(RERUN_UNSAFE, "runs a call again that is not idempotent") \
	X(RERUN_FOREVER, "does not count the runs of an idempotent call") \
	X(FORGET_DEADLINE, "lets a waiting call wait past its deadline") \
	X(REPLY_TWICE, "answers a call twice") \
	X(SWALLOW_REPLY, "ends a call without an answer") \
	X(SWALLOW_LOST, "ends the calls of a dead worker without an answer") \
	X(WRONG_CLIENT, "answers a call to the client that is next to the right one") \
	X(FOREIGN_RESULT, "takes a result from a worker that does not have the call") \
	X(USE_TWICE, "counts a dispatch twice against the credit") \
	X(WRONG_BYTES, "keeps the payload one byte off when a call has to wait") \
	X(NO_NOTICE, "does not tell the workers that calls wait for credit") \
	X(NO_RESYNC, "does not answer an unknown peer") \
	X(ACCEPT_EARLY, "says ACCEPTED before Redis has the event") \
	X(RESEND_BLINDLY, "sends a lost commit again without looking whether it happened") \
	X(DISPATCH_STALE_BEAT, "runs events though its last beat is old") \
	X(RETRY_BEFORE_SETTLED, "runs an event again before the attempt is settled") \
	X(TELL_END_EARLY, "tells of an end before Redis has it") \
	X(ADOPT_LIVE, "adopts a broker whose beat it saw only once") \
	X(KEEP_AFTER_FENCED, "goes on with its events though it was fenced") \
	X(IGNORE_ENDED_BITS, "takes over deliveries that have ended") \
	X(NO_RUN_TOKEN, "gives every run the same token") \
	X(LEASE_TOO_LONG, "gives runs a lease that their fence does not cover") \
	X(FORGET_DEATHS, "does not count the workers that died of an event") \
	X(LOSE_LANE, "stores events without their lane") \
	X(SKIP_PAGE, "reads only the first entry of each page of an adopted journal") \
	X(FORGET_NOT_BEFORE, "does not let a delayed event, or a retry, wait") \
	X(RETRY_FOREVER, "does not count an event's attempts") \
	X(FORGET_FENCE, "lets the records of a run go that may still write") \
	X(RETRY_BUDGET_IGNORED, "runs failed calls again beyond the service's budget") \
	X(SHED_NOBODY, "lets calls wait past the target though the service is overloaded") \
	X(SHED_HANDED_BACK, "gives up calls that came back from a worker for their delay") \
	X(BREAKER_IGNORED, "takes calls and dispatches while the breaker is open") \
	X(PROBES_UNBOUNDED, "lets everything through a half-open breaker") \
	X(OPEN_QUEUE_KEPT, "lets the calls wait that wait when the breaker opens") \
	X(PASS_FORGOTTEN, "does not free a probe's place when the run came back unrun") \
	X(EJECT_ALL, "ejects however many workers of a service") \
	X(TIMEOUT_NOT_SHRUNK, "sends a run with the time that its call had when it came") \
	X(TIMEOUT_FORGOTTEN, \
		"lets a run go on past its service's timeout, to the call's deadline") \
	X(CALLER_COUNTED, "counts answers against a service that are the caller's mistakes") \
	X(SLOW_UNCOUNTED, "does not count slow runs against a service") \
	X(LOSS_COUNTED_EACH, "counts a lost worker once for each of its runs") \
	X(STALE_COUNTED, "counts runs that began before the breaker changed its state") \
	X(OPENING_UNSAID, "does not tell the other brokers that a breaker opened") \
	X(OPENING_UNHEARD, "does not open a breaker that another broker's did") \
	X(FORCE_UNSAID, "does not tell the other brokers that a breaker is forced") \
	X(FORCE_GOES_BACK, "takes an older force over as well") \
	X(EJECTED_DISPATCH, "dispatches to workers that are ejected") \
	X(EJECTED_FOR_GOOD, "does not take ejected workers back") \
	X(EJECT_NOBODY, "ejects no worker, however often it fails") \
	X(SHED_EARLY, "gives calls up after half of the target") \
	X(OLDEST_FIRST, "dispatches the oldest call first while the service is overloaded") \
	X(NEWEST_FIRST, "dispatches the newest call first though the service is not overloaded") \
	X(QUEUE_UNBOUNDED, "does not count the calls that wait for a service") \
	X(SAME_WORKER, "sends a failed call to the same worker again") \
	X(RETRY_HEEDLESS, "runs a failed call again though its service said Retry-After") \
	X(FANOUT_FORGETS_ONE, "leaves one of an event's subscribers out") \
	X(FANOUT_ENDS_ALL, "ends an event for all who subscribe when it is done for one") \
	X(DROUGHT_UNHEARD, "goes on sending events to workers that have lost Redis") \
	X(DROUGHT_COUNTED, "counts runs against a service that failed for want of Redis") \
	X(EMIT_APART, "stores what a run sends apart from its end") \
	X(EMIT_ONCE, "forgets what a run sends when its settle must be sent again") \
	X(EMIT_FAILED, "sends what a run sends that failed") \
	X(EMIT_HALF, "takes the others when one event that a run sends cannot be taken") \
	X(HOPS_UNCOUNTED, "does not count the hops of what a run sends") \
	X(HOPS_UNBOUNDED, "runs events however many hops they have") \
	X(HOPS_FORGOTTEN, "forgets the hops of events that it takes over") \
	X(CALLBACK_FORGOTTEN, "forgets whom to tell of the end of events that it takes over") \
	X(CALLBACK_UNTOLD, "tells of no end that was not a run's") \
	X(CALLBACK_EACH_TRY, "tells of each attempt that failed, and not only of the end") \
	X(CALLBACK_OF_CALLBACK, "tells of the ends of what tells of ends") \
	X(CALL_SENDS_LATE, "answers a call before what it sends is stored") \
	X(CALL_UNSENT_UNSAID, "answers a call well though what it sends was refused")

enum brk_fault {
#define X(name, text) BRK_FAULT_##name,
	BRK_FAULTS(X)
#undef X
		BRK_FAULT__N
};

#define BRK_FAULT_WORDS ((BRK_FAULT__N + 63) / 64)

/* That one as well. */
void brk_core_break(struct brk_core *core, enum brk_fault fault);

#define BRK_FAULT_BIT(name) (UINT64_C(1) << BRK_FAULT_##name % 64)
#define BRK_FAULTY(core, name) \
	__builtin_expect(((core)->faults[BRK_FAULT_##name / 64] & BRK_FAULT_BIT(name)) != 0, 0)

#endif
