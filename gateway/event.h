/* Requests that become events: the sender gets 202 and an id once the event is
 * accepted, and the service's answer is for whoever asks at /v1/invocations/{id}.
 *
 * A request is one when it says Prefer: respond-async, or when its route does
 * (async: true). Pirn-Delay and Pirn-Not-Before put its run off; with a call, which
 * somebody waits for, they are refused rather than forgotten.
 */
#ifndef GATEWAY_EVENT_H
#define GATEWAY_EVENT_H

#include "gateway/gw.h"

#define GW_EVENT_DECISION_MS      30000u /* how long a sender waits for "accepted", unless he says */
#define GW_EVENT_DECISION_MOST_MS 60000u
#define GW_EVENT_AHEAD_MS         (366ull * 86400000) /* how far a run may be put off */

/* Finds out whether r is to be an event, and when. match: NULL for /v1/invoke/{service}. False: it
 * was answered, because it asks for what cannot be. */
bool gw_event_head(struct gw_request *r, const struct gw_match *match);

/* The same of a request that is an event, or several, by its path. */
bool gw_event_posted(struct gw_request *r);

/* What makes the engine's request an event. Nothing is changed when it is to be none. */
void gw_event_fill(const struct gw_errand *e, struct client_request *request);

/* Answers 202: the event was accepted now, or earlier under the same key. */
void gw_event_accepted(struct gw_request *r, const struct client_reply *reply);

#endif
