#include "cli/answer.h"

#include <string.h>

#include "base/text.h"

void cli_tell_problem(const struct cli_http_response *response)
{
	json_t *problem =
		json_loadb((const char *)response->body.data, response->body.size, 0, NULL);
	const char *title = json_string_value(json_object_get(problem, "title"));
	const char *detail = json_string_value(json_object_get(problem, "detail"));

	if (title && detail)
		cli_complain("%u %s: %s", response->status, title, detail);
	else
		cli_complain("%u%s%s", response->status, title ? " " : "", title ? title : "");
	json_decref(problem);
}

static int read_answer(const char *base, const struct cli_http_response *response, json_t **out)
{
	json_t *answer;

	if (response->status < 200 || response->status > 299) {
		cli_tell_problem(response);
		return response->status == 503 ? CLI_UNAVAILABLE : CLI_FAILED;
	}
	answer = json_loadb((const char *)response->body.data, response->body.size,
		JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(answer)) {
		cli_complain("%s answers %u and no JSON object", base, response->status);
		json_decref(answer);
		return CLI_FAILED;
	}
	*out = answer;
	return CLI_OK;
}

int cli_ask(const struct cli_http_request *request, json_t **out)
{
	struct cli_http_response response;
	char why[512];
	enum base_err err = cli_http(request, &response, why, sizeof why);
	int status;

	if (err) {
		cli_complain("%s: %s", request->base, why);
		return err == BASE_INVALID ? CLI_USAGE : CLI_UNAVAILABLE;
	}
	status = read_answer(request->base, &response, out);
	cli_http_fini(&response);
	return status;
}

void cli_print_json(const json_t *document)
{
	json_dumpf(document, stdout, JSON_COMPACT);
	putchar('\n');
}

const char *cli_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

double cli_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

void cli_cell_text(struct cli_table *t, const json_t *object, const char *key)
{
	const char *text = cli_text(object, key);
	char room[BASE_TEXT_QUOTED];

	cli_table_cell(t, "%s", text && *text ? base_text_word(room, sizeof room, text) : "-");
}

void cli_cell_number(struct cli_table *t, const json_t *object, const char *key)
{
	if (json_is_number(json_object_get(object, key)))
		cli_table_cell(t, "%.0f", cli_number(object, key));
	else
		cli_table_cell(t, "-");
}

void cli_cell_ms(struct cli_table *t, double ms)
{
	static const struct {
		double below, unit;
		const char *name;
	} units[] = { { 1e3, 1, "ms" }, { 6e4, 1e3, "s" }, { 3.6e6, 6e4, "min" },
		{ 8.64e7, 3.6e6, "h" }, { 1e300, 8.64e7, "d" } };
	size_t i = 0;

	while (ms >= units[i].below)
		i++;
	cli_table_cell(t, i == 0 || ms >= 10 * units[i].unit ? "%.0f %s" : "%.1f %s",
		ms / units[i].unit, units[i].name);
}
