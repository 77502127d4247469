#include "client/topic.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "client/engine.h"

#define ID_MAX     1024
#define TYPE_MAX   256 /* of content_type */
#define ATTRIBUTES 6

/* ---- what the user gave ---------------------------------------------------- */

/* CloudEvents' String: text without controls. */
static bool is_text(const char *text, size_t most)
{
	size_t size = strnlen(text, most + 1);
	uint32_t code;

	if (size == 0 || size > most)
		return false;
	for (size_t i = 0, n; i < size; i += n) {
		n = base_text_utf8(text + i, size - i, &code);
		if (n == 0 || code < 0x20 || (code >= 0x7f && code <= 0x9f))
			return false;
	}
	return true;
}

/* A URI-reference has no blanks either, and nothing beyond ASCII. */
static bool is_source(const char *text)
{
	for (const char *at = text; *at; at++)
		if (*at <= ' ' || *at > '~' || strchr("\"<>\\^`{|}", *at))
			return false;
	return is_text(text, CLIENT_TOPIC_MAX);
}

static bool is_header(const char *text)
{
	for (const char *at = text; *at; at++)
		if (*at < ' ' || *at > '~')
			return false;
	return is_text(text, TYPE_MAX);
}

static bool is_sound(const struct pirn_event *e)
{
	return !e->service && !e->key && is_text(e->type, CLIENT_TOPIC_MAX) && e->source &&
	       is_source(e->source) && (!e->subject || is_text(e->subject, CLIENT_TOPIC_MAX)) &&
	       (!e->event_id || is_text(e->event_id, ID_MAX)) &&
	       (!e->content_type || is_header(e->content_type));
}

static const char *keep(char **at, const char *text)
{
	char *copy = *at;

	if (!text)
		return NULL;
	*at = stpcpy(copy, text) + 1;
	return copy;
}

static size_t room_of(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

enum pirn_client_err client_topic_new(const struct pirn_event *e, struct client_topic **out)
{
	struct client_topic *topic;
	char *at;

	if (!is_sound(e))
		return PIRN_CLIENT_INVALID;
	topic = malloc(sizeof *topic + room_of(e->type) + room_of(e->source) + room_of(e->subject) +
		       room_of(e->event_id) + room_of(e->content_type));
	if (!topic)
		return PIRN_CLIENT_NOMEM;
	at = topic->text;
	topic->type = keep(&at, e->type);
	topic->source = keep(&at, e->source);
	topic->subject = keep(&at, e->subject);
	topic->event_id = keep(&at, e->event_id);
	topic->content_type = keep(&at, e->content_type);
	*out = topic;
	return PIRN_CLIENT_OK;
}

/* ---- what the services get ------------------------------------------------- */

/* As CloudEvents writes a header's value. */
static void encode(struct base_buf *values, const char *text)
{
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~' || *text == '"' || *text == '%')
			base_buf_fmt(values, "%%%02X", (unsigned)(unsigned char)*text);
		else
			base_buf_chr(values, *text);
	}
}

static void set(ProtobufCBinaryData *to, const void *data, size_t size)
{
	to->data = (uint8_t *)(uintptr_t)data;
	to->len = size;
}

/* The values lie one behind the other; until all are there, only their places are known. */
struct packing {
	Pirn__HttpRequest request;
	Pirn__Header headers[ATTRIBUTES], *list[ATTRIBUTES];
	struct base_buf values;
	size_t at[ATTRIBUTES + 1];
};

static void put(struct packing *p, const char *name, const char *value, bool plain)
{
	size_t i = p->request.n_headers++;

	pirn__header__init(&p->headers[i]);
	p->list[i] = &p->headers[i];
	set(&p->headers[i].name, name, strlen(name));
	p->at[i] = p->values.size;
	if (plain)
		base_buf_str(&p->values, value);
	else
		encode(&p->values, value);
	p->at[i + 1] = p->values.size;
}

void client_topic_meta(const struct client_topic *topic, const char *id, struct base_buf *out)
{
	struct packing p = { .request = PIRN__HTTP_REQUEST__INIT };
	uint8_t *room;
	size_t size;

	base_buf_init(&p.values);
	p.request.headers = p.list;
	set(&p.request.method, "POST", 4);
	set(&p.request.target, "/v1/events", 10);
	put(&p, "ce-specversion", "1.0", true);
	put(&p, "ce-id", topic->event_id ? topic->event_id : id, false);
	put(&p, "ce-source", topic->source, false);
	put(&p, "ce-type", topic->type, false);
	if (topic->subject)
		put(&p, "ce-subject", topic->subject, false);
	if (topic->content_type)
		put(&p, "Content-Type", topic->content_type, true);
	for (size_t i = 0; i < p.request.n_headers; i++)
		set(&p.headers[i].value, p.values.data + p.at[i], p.at[i + 1] - p.at[i]);
	size = pirn__http_request__get_packed_size(&p.request);
	room = p.values.failed ? NULL : base_buf_room(out, size);
	out->failed = out->failed || !room;
	if (room)
		base_buf_grew(out, pirn__http_request__pack(&p.request, room));
	base_buf_fini(&p.values);
}
