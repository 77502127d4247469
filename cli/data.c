#include "cli/data.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ulid.h"
#include "cli/answer.h"

#define BODY_MAX (64u * 1024 * 1024)

static enum base_err read_all(FILE *in, struct base_buf *out)
{
	for (;;) {
		uint8_t *room = base_buf_room(out, 65536);
		size_t n = room ? fread(room, 1, 65536, in) : 0;

		base_buf_grew(out, n);
		if (n == 0)
			break;
		if (out->size > BODY_MAX)
			return BASE_TOO_LARGE;
	}
	return ferror(in) ? BASE_IO : base_buf_check(out);
}

bool cli_data_read(const char *data, struct base_buf *out)
{
	const char *path = data && data[0] == '@' ? data + 1 : NULL;
	enum base_err err;
	FILE *file;

	if (!data)
		return true;
	if (!path && strcmp(data, "-") != 0) {
		base_buf_str(out, data);
		err = base_buf_check(out);
	} else if (!path) {
		err = read_all(stdin, out);
	} else {
		file = fopen(path, "re");
		if (!file) {
			cli_complain("%s: %s", path, strerror(errno));
			return false;
		}
		err = read_all(file, out);
		fclose(file);
	}
	if (err)
		cli_complain("--data %s: %s", data, base_err_text(err));
	return !err;
}

void cli_header_add(struct cli_headers *h, const char *name, const char *value)
{
	if (!value)
		return;
	(void)snprintf(h->texts[h->n], CLI_HEADER_ROOM, "%s: %s", name, value);
	h->list[h->n] = h->texts[h->n];
	h->n++;
}

bool cli_header_is_line(const char *flag, const char *text)
{
	if (!text || (!strpbrk(text, "\r\n") && strlen(text) < CLI_HEADER_ROOM - 64))
		return true;
	cli_complain("--%s: a line break cannot stand in it, nor more than 500 characters", flag);
	return false;
}

int cli_show_accepted(const struct cli_http_response *response)
{
	json_t *answer = json_loadb((const char *)response->body.data, response->body.size,
		JSON_REJECT_DUPLICATES, NULL);
	const char *id = cli_text(answer, "id");
	uint8_t ignored[BASE_ULID_SIZE];
	int status = CLI_FAILED;

	if (response->status != 202) {
		cli_tell_problem(response);
	} else if (!id || !base_ulid_parse(id, ignored)) {
		cli_complain("the gateway answers 202 and no event's id");
	} else {
		printf("%s\n", id);
		status = CLI_OK;
	}
	json_decref(answer);
	return status;
}
