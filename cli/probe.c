#include "cli/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct cli_probe {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_pipe_t pipe;
		uv_tcp_t tcp;
	} socket;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	unsigned open_handles;
	char *request;
	bool line;
	bool over; /* fn was called, or must not be */
	struct base_buf answer;
	cli_probe_fn *fn;
	void *arg;
};

static void on_close(uv_handle_t *handle)
{
	struct cli_probe *p = handle->data;

	if (--p->open_handles > 0)
		return;
	base_buf_fini(&p->answer);
	free(p->request);
	free(p);
}

static void close_all(struct cli_probe *p)
{
	if (!uv_is_closing(&p->socket.handle))
		uv_close(&p->socket.handle, on_close);
	if (!uv_is_closing((uv_handle_t *)&p->timer))
		uv_close((uv_handle_t *)&p->timer, on_close);
}

static void finish(struct cli_probe *p, bool reached)
{
	if (p->over)
		return;
	p->over = true;
	close_all(p);
	p->fn(p->arg, reached && !p->answer.failed, (const char *)p->answer.data, p->answer.size);
}

static void on_timer(uv_timer_t *timer)
{
	finish(timer->data, false);
}

static void on_room(uv_handle_t *handle, size_t wish, uv_buf_t *out)
{
	struct cli_probe *p = handle->data;
	uint8_t *room = p->answer.size < CLI_PROBE_MAX ? base_buf_room(&p->answer, 4096) : NULL;

	(void)wish;
	*out = uv_buf_init((char *)room, room ? 4096 : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct cli_probe *p = stream->data;

	(void)buf;
	if (n < 0) {
		finish(p, n == UV_EOF && p->answer.size > 0 && !p->line);
		return;
	}
	base_buf_grew(&p->answer, (size_t)n);
	if (p->line && memchr(p->answer.data, '\n', p->answer.size))
		finish(p, true);
}

static void on_written(uv_write_t *write, int status)
{
	if (status < 0)
		finish(write->data, false);
}

static void on_connect(uv_connect_t *connect, int status)
{
	struct cli_probe *p = connect->data;
	uv_buf_t out;

	if (p->over)
		return;
	if (status < 0 || !p->request) {
		finish(p, status == 0);
		return;
	}
	out = uv_buf_init(p->request, (unsigned)strlen(p->request));
	p->write.data = p;
	if (uv_write(&p->write, &p->socket.stream, &out, 1, on_written) != 0 ||
		uv_read_start(&p->socket.stream, on_room, on_read) != 0)
		finish(p, false);
}

static bool dial(struct cli_probe *p, const struct cli_probe_conf *conf)
{
	p->connect.data = p;
	if (conf->address)
		return uv_tcp_connect(&p->connect, &p->socket.tcp, conf->address, on_connect) == 0;
	uv_pipe_connect(&p->connect, &p->socket.pipe, conf->unix_path, on_connect);
	return true;
}

enum base_err cli_probe_start(uv_loop_t *loop, const struct cli_probe_conf *conf, cli_probe_fn *fn,
	void *arg, struct cli_probe **out)
{
	struct cli_probe *p = calloc(1, sizeof *p);

	if (!p || (conf->request && !(p->request = strdup(conf->request)))) {
		free(p);
		return BASE_NOMEM;
	}
	base_buf_init(&p->answer);
	p->line = conf->line;
	p->fn = fn;
	p->arg = arg;
	if (conf->address)
		uv_tcp_init(loop, &p->socket.tcp);
	else
		uv_pipe_init(loop, &p->socket.pipe, 0);
	uv_timer_init(loop, &p->timer);
	p->socket.handle.data = p->timer.data = p;
	p->open_handles = 2;
	uv_timer_start(&p->timer, on_timer, conf->timeout_ms, 0);
	if (!dial(p, conf)) {
		p->over = true;
		close_all(p);
		return BASE_IO;
	}
	*out = p;
	return BASE_OK;
}

void cli_probe_cancel(struct cli_probe **pp)
{
	struct cli_probe *p = *pp;

	*pp = NULL;
	if (!p || p->over)
		return;
	p->over = true;
	close_all(p);
}
