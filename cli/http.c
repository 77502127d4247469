#include "cli/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/version.h"

static size_t on_data(char *data, size_t one, size_t n, void *arg)
{
	struct base_buf *body = arg;

	(void)one;
	if (body->size + n > CLI_HTTP_MAX)
		return 0;
	base_buf_add(body, data, n);
	return base_buf_check(body) == BASE_OK ? n : 0;
}

static enum base_err translate(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return BASE_OK;
	case CURLE_OPERATION_TIMEDOUT:
		return BASE_TIMEOUT;
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return BASE_INVALID;
	case CURLE_OUT_OF_MEMORY:
		return BASE_NOMEM;
	case CURLE_WRITE_ERROR:
		return BASE_TOO_LARGE;
	default:
		return BASE_UNAVAILABLE;
	}
}

static struct curl_slist *all_headers(const struct cli_http_request *request)
{
	/* libcurl's Expect: 100-continue costs a round trip and buys nothing here. */
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");

	for (const char *const *h = request->headers; list && h && *h; h++) {
		struct curl_slist *longer = curl_slist_append(list, *h);

		if (!longer) {
			curl_slist_free_all(list);
			return NULL;
		}
		list = longer;
	}
	return list;
}

static void set_up(CURL *curl, const struct cli_http_request *request, const char *url,
	struct curl_slist *headers, struct cli_http_response *response, char *errors)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "pirn/" PIRN_VERSION);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, errors);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &response->body);
	if (request->body) {
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
	}
}

static void read_head(CURL *curl, struct cli_http_response *response)
{
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	response->status = (unsigned)status;
	(void)snprintf(
		response->content_type, sizeof response->content_type, "%s", type ? type : "");
}

enum base_err cli_http(const struct cli_http_request *request, struct cli_http_response *out,
	char *why, size_t why_room)
{
	struct cli_http_response response = { 0 };
	char errors[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = all_headers(request);
	CURL *curl = curl_easy_init();
	enum base_err err = BASE_NOMEM;
	char *url = NULL;
	size_t size = strlen(request->base);
	CURLcode code;

	while (size && request->base[size - 1] == '/')
		size--;
	base_buf_init(&response.body);
	if (!curl || !headers ||
		asprintf(&url, "%.*s%s", (int)size, request->base, request->path) < 0)
		goto fail;
	set_up(curl, request, url, headers, &response, errors);
	code = curl_easy_perform(curl);
	err = translate(code);
	if (err) {
		if (!errors[0])
			(void)snprintf(errors, sizeof errors, "%s", curl_easy_strerror(code));
		goto fail;
	}
	read_head(curl, &response);
	*out = response;
fail:
	if (err) {
		base_buf_fini(&response.body);
		(void)snprintf(why, why_room, "%s", errors[0] ? errors : base_err_text(err));
	}
	free(url);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return err;
}

void cli_http_fini(struct cli_http_response *response)
{
	base_buf_fini(&response->body);
}
