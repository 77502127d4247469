/* Counts the events of orders by their type, and for each order.created sends one of its own,
 * shipment.requested with the order's number, which whoever subscribes to it gets: here this service again, which
 * counts it. GET /shipping answers {"order.created":2,"shipment.requested":2}.
 *
 *   pirn send --type order.created --source /shop --subject 1001 --data '{"total":12}'
 *
 * What a run counts and sends happens once, however often the run is tried: state is
 * replayed, and events leave when the run is settled.
 */
#include <pirn/service.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int show(struct pirn_request *req, struct pirn_response *res)
{
	const struct pirn_pair *fields;
	json_t *shown = json_object();
	size_t n;
	int err = pirn_hash_all(req, "events", &fields, &n);
	char *text;

	for (size_t i = 0; !err && i < n; i++)
		json_object_set_new(shown, fields[i].name, json_integer(strtoll(fields[i].value, NULL, 10)));
	text = err ? NULL : json_dumps(shown, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(shown);
	if (text)
		err = pirn_respond_json(res, 200, "%s", text);
	else if (!err)
		err = PIRN_ERR_NOMEM;
	free(text);
	return err;
}

static int shipping(struct pirn_request *req, struct pirn_response *res)
{
	const char *type = pirn_request_attribute(req, "type");
	int64_t n;
	int err;

	if (strcmp(pirn_request_method(req), "GET") == 0)
		return show(req, res);
	if (!type)
		return pirn_respond_problem(res, 400, NULL, "this is no event of an order");
	err = pirn_hash_add(req, "events", type, 1, &n);
	if (!err && strcmp(type, "order.created") == 0)
		err = pirn_emit_json(req, "shipment.requested",
			pirn_request_attribute(req, "subject"), "{\"express\":false}");
	return err ? err : pirn_respond_json(res, 200, "{}");
}

PIRN_SERVICE(.handler = shipping);
