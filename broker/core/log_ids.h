/* What the core has to say, as BRK_LOG actions. The id is what tests and
 * dashboards hold on to; what text and number of the action are stands in the row.
 */
#ifndef BROKER_CORE_LOG_IDS_H
#define BROKER_CORE_LOG_IDS_H

#include "base/log.h"

/* id, level, meaning */
#define BRK_LOG_IDS(X) \
	X(peer_joined, INFO, "A peer said HELLO. text: its name; number: its peer number.") \
	X(peer_refused, WARN, "A HELLO was refused. text: why; number: the peer number.") \
	X(peer_gone, INFO, \
		"A peer is gone, or said BYE. text: its name; number: calls it had open.") \
	X(peer_silent, WARN, "A peer was silent for too long. text: its name; number: ms.") \
	X(peer_replaced, INFO, \
		"A process came back on a new connection. text: its name; number: the old one.") \
	X(peer_draining, INFO, \
		"A peer asked for no new work. text: its name; number: calls it has open.") \
	X(service_known, INFO, \
		"A service is new, or its manifest changed. text: the service; number: routes.") \
	X(service_forgotten, INFO, \
		"A service was without a worker for too long. text: the service; number: ms.") \
	X(service_refused, WARN, "A registry entry was not taken. text: why; number: 0.") \
	X(drain_started, INFO, \
		"The broker takes no new work. text: its name; number: open calls.") \
	X(journal_opened, INFO, \
		"The broker may append to its journal. text: its name; number: its epoch.") \
	X(journal_adopted, WARN, \
		"Another broker's journal was taken over. text: the broker; number: the journal.") \
	X(journal_not_empty, ERROR, \
		"An adopted journal has entries that cannot be read: it stays. text: the " \
		"broker; number: the journal.") \
	X(entry_unreadable, ERROR, \
		"A journal's entry is none, or too large; it stays where it is. text: the " \
		"broker; number: its turn.") \
	X(fenced, WARN, \
		"Another broker took this one's journals over. text: the broker; number: " \
		"events that it let go.") \
	X(redis_lost_data, ERROR, \
		"Redis has lost its data; what lives here is stored anew. text: the broker; " \
		"number: events that are.") \
	X(ended_before, ERROR, \
		"A delivery had ended in Redis before this broker ended it. text: its service; " \
		"number: 0 moved, 1 ended, 2 dead.") \
	X(sent_refused, WARN, \
		"What a call's run sends is the service's mistake: the call is answered 502. " \
		"text: the service; number: the reason.") \
	X(event_dead, WARN, "An event is dead. text: its service; number: the reason.") \
	X(breaker_opened, WARN, \
		"A circuit breaker opened, here or at another broker. text: the service; " \
		"number: ms until it probes.") \
	X(breaker_half_open, INFO, \
		"A circuit breaker probes. text: the service; number: how often in a row it was " \
		"open.") \
	X(breaker_closed, INFO, "A circuit breaker closed. text: the service; number: 0.") \
	X(breaker_forced, WARN, \
		"A circuit breaker was forced, or is left to itself again. text: the service; " \
		"number: 0 itself, 1 open, 2 closed.") \
	X(worker_ejected, WARN, \
		"A worker failed a service too often in a row and gets none of it for a while. " \
		"text: the worker and the service; number: ms.") \
	X(worker_readmitted, INFO, \
		"An ejected worker gets work again. text: the worker and the service; number: its " \
		"ejections so far.")

enum brk_log_id {
#define X(id, level, meaning) BRK_LOG_##id,
	BRK_LOG_IDS(X)
#undef X
		BRK_LOG__N
};

/* The level of an action's log_id; ids are compared as text. BASE_INFO for one that is not in
 * the table. */
enum base_log_level brk_log_level(const char *id);
const char *brk_log_name(enum brk_log_id id);

#endif
