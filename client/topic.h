/* An event of the library's that has no service but a type: a CloudEvent, for all who
 * subscribe. What they get is what the gateway makes of one that came by HTTP: a POST to
 * /v1/events with the attributes as ce- headers.
 */
#ifndef CLIENT_TOPIC_H
#define CLIENT_TOPIC_H

#include "base/buf.h"
#include "client/key.h"

struct client_topic {
	const char *type, *source;
	const char *subject, *event_id, *content_type; /* NULL: none */
	char text[];
};

/* A copy. INVALID: a part is missing, too long, or no text; NOMEM. *out is to be freed, by free. */
enum pirn_client_err client_topic_new(const struct pirn_event *event, struct client_topic **out);

/* The request's head, with id where the event has none of its own. The buffer's error is sticky. */
void client_topic_meta(const struct client_topic *topic, const char *id, struct base_buf *out);

#endif
