/* POST /orders places an order: it becomes the event order.created, which whoever subscribes to it gets
 * (services/shipping). Who hears 201 knows that the event is kept; with an Idempotency-Key it is one
 * event, however often he asks.
 *
 *   curl localhost:8080/orders -H 'Idempotency-Key: "cart-7"' -d '{"total":12}'
 *
 * Entries of the stream orders, such as XADD orders * state paid amount 12, are counted by
 * their state; carts by what happened to them. GET /orders answers
 * {"orders":{"paid":3},"carts":{"set":5,"expired":1}}.
 *
 * Each entry counts once, however often its event is run: state is replayed. Changes of
 * carts are heard only while Pirn runs, so the carts are no more than an impression.
 */
#include <pirn/service.h>

#include <jansson.h>
#include <string.h>

#define KEYS "pirn.redis.key."

static int count(struct pirn_request *req, struct pirn_response *res, const char *hash, const char *field)
{
	int64_t n;
	int err = pirn_hash_add(req, hash, field, 1, &n);

	return err ? err : pirn_respond_json(res, 200, "{}");
}

static int count_order(struct pirn_request *req, struct pirn_response *res)
{
	size_t size;
	const char *body = pirn_request_body(req, &size);
	json_t *entry = json_loadb(body, size, 0, NULL);
	const char *state = json_string_value(json_object_get(entry, "state"));
	int err;

	if (state)
		err = count(req, res, "orders", state);
	else
		err = pirn_respond_problem(res, 422, NULL, "the entry has no field state");
	json_decref(entry);
	return err;
}

static int show_hash(struct pirn_request *req, json_t *all, const char *hash)
{
	const struct pirn_pair *fields;
	json_t *shown = json_object();
	size_t n;
	int err = pirn_hash_all(req, hash, &fields, &n);

	for (size_t i = 0; !err && i < n; i++)
		json_object_set_new(shown, fields[i].name, json_integer(strtoll(fields[i].value, NULL, 10)));
	json_object_set_new(all, hash, shown);
	return err;
}

static int show(struct pirn_request *req, struct pirn_response *res)
{
	json_t *all = json_object();
	int err = show_hash(req, all, "orders");
	char *text;

	if (!err)
		err = show_hash(req, all, "carts");
	text = err ? NULL : json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(all);
	if (text)
		err = pirn_respond_json(res, 200, "%s", text);
	else if (!err)
		err = PIRN_ERR_NOMEM;
	free(text);
	return err;
}

static int place(struct pirn_request *req, struct pirn_response *res)
{
	struct pirn_emitted event = { .type = "order.created", .subject = pirn_request_id(req) };
	json_t *order;
	int err;

	event.data = pirn_request_body(req, &event.size);
	order = json_loadb(event.data, event.size, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(order))
		err = pirn_respond_problem(res, 422, NULL, "an order is a JSON object");
	else if (!(err = pirn_emit(req, &event)))
		err = pirn_respond_json(res, 201, "{\"order\":\"%s\"}", pirn_request_id(req));
	json_decref(order);
	return err;
}

static int orders(struct pirn_request *req, struct pirn_response *res)
{
	const char *type = pirn_request_header(req, "ce-type");

	if (strcmp(pirn_request_method(req), "GET") == 0)
		return show(req, res);
	if (!type)
		return place(req, res);
	if (strcmp(type, "pirn.redis.entry") == 0)
		return count_order(req, res);
	if (strncmp(type, KEYS, sizeof KEYS - 1) == 0)
		return count(req, res, "carts", type + sizeof KEYS - 1);
	return pirn_respond_problem(res, 400, NULL, "neither an order nor a cart");
}

PIRN_SERVICE(.handler = orders);
