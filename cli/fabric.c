#include "cli/fabric.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/fabric_control.h"
#include "cli/fabric_notes.h"
#include "cli/fabric_show.h"
#include "cli/fabric_words.h"
#include "cli/process.h"
#include "cli/ready.h"
#include "net/loop.h"
#include "net/notify.h"

struct fabric {
	const struct cli_fabric_conf *conf;
	struct cli_supervise machine;
	struct net_loop *loop;
	uv_timer_t timer; /* the machine's next deadline */
	uv_signal_t on_child, on_hangup;
	struct cli_ready *ready; /* asks about the group that starts */
	struct cli_notes *notes;
	struct cli_control *control;
	pid_t pids[CLI_PROCESSES_MAX]; /* of places and asides; 0: none */
	uint64_t begun_at;
	bool listening; /* our own copy of the gateways' sockets is open */
	struct base_rand chance;
};

static void take_actions(struct fabric *f);

static uint64_t now_ms(void)
{
	return base_clock_ms();
}

/* ---- children ------------------------------------------------------------- */

static void name_of(const struct fabric *f, size_t i, char out[32])
{
	const struct cli_child *c = &f->machine.children[i];

	cli_fabric_name(c->group, c->index, out);
}

static void spawn(struct fabric *f, size_t i)
{
	const struct cli_child *c = &f->machine.children[i];
	struct cli_fabric_words words;
	char name[32];
	enum base_err err;

	name_of(f, i, name);
	cli_fabric_words(f->conf, c, &words);
	err = cli_process_spawn(&words.process, &f->pids[i]);
	cli_fabric_words_fini(&words);
	if (!err) {
		base_log(BASE_INFO, "child_started", LOG_STR("child", name),
			LOG_I64("pid", f->pids[i]));
		return;
	}
	base_log(BASE_ERROR, "child_not_started", LOG_STR("child", name),
		LOG_STR("program", words.process.path), LOG_ERR(err));
	f->pids[i] = 0;
	cli_supervise_died(&f->machine, i, false, now_ms(), base_rand_next(&f->chance));
}

/* One that could not be started may be meant, whose end was told when its signal was on the list already: 0
 * is everybody in our own group. */
static void send_signal(struct fabric *f, size_t i, int number)
{
	char name[32];

	if (f->pids[i] <= 0)
		return;
	name_of(f, i, name);
	if (number == SIGKILL) {
		base_log(BASE_WARN, "child_killed", LOG_STR("child", name),
			LOG_I64("pid", f->pids[i]));
		cli_fabric_show_killed(f->conf, name, f->pids[i]);
	}
	/* A program may have children of its own: its whole group is meant at the end. */
	(void)kill(number == SIGKILL ? -f->pids[i] : f->pids[i], number);
}

/* before: the child as it was. Another one follows it at once, unless it left its place before. */
static void tell_death(
	struct fabric *f, size_t i, const struct cli_child *before, pid_t pid, int status)
{
	const struct cli_child *c = &f->machine.children[i];
	bool wanted = f->machine.phase == CLI_STOPPING || f->machine.phase == CLI_DONE ||
		      before->state == CLI_CHILD_ENDING || cli_child_is_aside(i);
	bool restarts = c->state == CLI_CHILD_WAITING || c->state == CLI_CHILD_RUNNING;
	uint64_t wait_ms =
		c->state == CLI_CHILD_WAITING && c->due_at > now_ms() ? c->due_at - now_ms() : 0;
	const char *key = WIFSIGNALED(status) ? "signal" : "exit";
	int number = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
	char name[32];

	cli_fabric_name(before->group, before->index, name);
	if (wanted || !restarts)
		base_log(number && !before->killed ? BASE_WARN : BASE_INFO, "child_ended",
			LOG_STR("child", name), LOG_I64("pid", pid), LOG_I64(key, number));
	else
		base_log(number ? BASE_WARN : BASE_INFO, "child_died", LOG_STR("child", name),
			LOG_I64("pid", pid), LOG_I64(key, number), LOG_U64("restart_ms", wait_ms));
}

static void collect(struct fabric *f, size_t i)
{
	const struct cli_child child = f->machine.children[i];
	enum cli_phase phase = f->machine.phase;
	pid_t pid = f->pids[i];
	int status = 0;

	if (pid <= 0 || waitpid(pid, &status, WNOHANG) != pid)
		return;
	f->pids[i] = 0;
	cli_supervise_died(&f->machine, i, WIFEXITED(status) && WEXITSTATUS(status) == 0, now_ms(),
		base_rand_next(&f->chance));
	tell_death(f, i, &child, pid, status);
	if (phase == CLI_STARTING && f->machine.failed)
		cli_fabric_show_culprit(f->conf, &f->machine.children[i], status);
	take_actions(f);
}

static void on_child(uv_signal_t *handle, int number)
{
	struct fabric *f = handle->data;

	(void)number;
	cli_notes_read(f->notes);
	for (size_t i = 0; i < CLI_PROCESSES_MAX; i++)
		collect(f, i);
}

/* ---- what children say -------------------------------------------------------- */

static void on_leaves(struct fabric *f, size_t i, pid_t pid)
{
	char name[32];

	name_of(f, i, name);
	if (f->machine.phase == CLI_UP && f->machine.children[i].state == CLI_CHILD_RUNNING)
		base_log(BASE_INFO, "child_leaves", LOG_STR("child", name), LOG_I64("pid", pid));
	cli_supervise_leaves(&f->machine, i, now_ms(), base_rand_next(&f->chance));
}

static void on_note(void *arg, pid_t pid, enum cli_note note)
{
	struct fabric *f = arg;

	for (size_t i = 0; i < CLI_PROCESSES_MAX; i++) {
		if (f->pids[i] != pid)
			continue;
		if (note == CLI_NOTE_READY)
			cli_supervise_is_ready(&f->machine, i, now_ms());
		else
			on_leaves(f, i, pid);
		take_actions(f);
		return;
	}
}

/* ---- restarts ------------------------------------------------------------------ */

static const char *on_restart(void *arg, const bool groups[CLI_GROUP__N])
{
	struct fabric *f = arg;

	if (f->machine.phase == CLI_STARTING)
		return "it has not started yet";
	if (f->machine.phase != CLI_UP)
		return "everything is about to end";
	if (f->machine.restart.on)
		return "another restart goes on";
	base_log(BASE_INFO, "restart_started",
		LOG_STR("brokers", groups[CLI_BROKERS] ? "yes" : "no"),
		LOG_STR("workers", groups[CLI_WORKERS] ? "yes" : "no"),
		LOG_STR("gateways", groups[CLI_GATEWAYS] ? "yes" : "no"));
	(void)cli_supervise_restart(&f->machine, groups, now_ms());
	take_actions(f);
	return NULL;
}

static void tell_restart(struct fabric *f, const struct cli_action *a)
{
	static const char *const failures[] = { [CLI_FAILURE_DIED] = "died",
		[CLI_FAILURE_LATE] = "late",
		[CLI_FAILURE_STOPPED] = "stopped" };
	const char *why = failures[f->machine.restart.failure];
	char name[32];

	if (a->kind == CLI_RESTARTED) {
		base_log(BASE_INFO, "restart_done");
		cli_control_say(f->control, true, "done");
		return;
	}
	name_of(f, a->child, name);
	if (a->kind == CLI_REPLACED) {
		base_log(BASE_INFO, "child_replaced", LOG_STR("child", name),
			LOG_I64("pid", f->pids[a->child]));
		cli_control_say(f->control, false, "replaced %s", name);
	} else {
		base_log(BASE_ERROR, "restart_given_up", LOG_STR("child", name),
			LOG_STR("why", why));
		cli_control_say(f->control, true, "failed %s %s", name, why);
	}
}

/* ---- readiness -------------------------------------------------------------- */

static void on_ready(void *arg, enum cli_group group, const char *failure)
{
	struct fabric *f = arg;

	if (failure) {
		cli_complain("%s", failure);
		cli_supervise_fail(&f->machine, now_ms());
	} else {
		cli_fabric_show_group(f->conf, group);
		cli_supervise_ready(&f->machine, group, now_ms());
	}
	take_actions(f);
}

static void ask_readiness(struct fabric *f)
{
	if (f->machine.phase == CLI_STARTING)
		cli_ready_begin(f->ready, f->machine.group);
	else
		cli_ready_stop(f->ready);
}

/* ---- the machine's actions --------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
	struct fabric *f = timer->data;

	cli_supervise_tick(&f->machine, now_ms());
	take_actions(f);
}

static void set_timer(struct fabric *f)
{
	uint64_t due = cli_supervise_due(&f->machine);
	uint64_t now = now_ms();

	if (due == UINT64_MAX) {
		uv_timer_stop(&f->timer);
		return;
	}
	uv_update_time(net_loop_uv(f->loop));
	uv_timer_start(&f->timer, on_timer, due > now ? due - now : 0, 0);
}

static void change_places(struct fabric *f, size_t one, size_t other)
{
	pid_t pid = f->pids[one];

	f->pids[one] = f->pids[other];
	f->pids[other] = pid;
}

static void take_actions(struct fabric *f)
{
	struct cli_action action;

	while (cli_supervise_next(&f->machine, &action))
		switch (action.kind) {
		case CLI_SPAWN:
			spawn(f, action.child);
			break;
		case CLI_TERM:
			send_signal(f, action.child, SIGTERM);
			break;
		case CLI_KILL:
			send_signal(f, action.child, SIGKILL);
			break;
		case CLI_SWAP:
			change_places(f, action.child, action.other);
			break;
		case CLI_REPLACED:
		case CLI_RESTARTED:
		case CLI_NOT_RESTARTED:
			tell_restart(f, &action);
			break;
		case CLI_READY:
			base_log(BASE_INFO, "up_ready", LOG_STR("http", f->conf->http.text),
				LOG_STR("admin", f->conf->admins[0].text[0]
							 ? f->conf->admins[0].text
							 : NULL),
				LOG_STR("data", f->conf->data),
				LOG_U64("took_ms", now_ms() - f->begun_at));
			cli_fabric_show_ready(f->conf);
			net_notify_ready();
			break;
		case CLI_END:
			net_loop_stop(f->loop);
			break;
		}
	ask_readiness(f);
	set_timer(f);
}

/* ---- beginning and end --------------------------------------------------------- */

/* Once nobody will accept any more, a client had better be refused than wait in the backlog. */
static void close_listeners(struct fabric *f)
{
	if (!f->listening)
		return;
	f->listening = false;
	close(f->conf->http.fd);
	for (unsigned i = 0; i < f->conf->counts[CLI_GATEWAYS]; i++)
		close(f->conf->admins[i].fd);
}

static void stop(struct fabric *f)
{
	if (f->machine.phase == CLI_STARTING || f->machine.phase == CLI_UP) {
		base_log(BASE_INFO, "up_stopping", LOG_U64("drain_ms", f->conf->drain_ms));
		cli_fabric_show_stopping(f->conf);
		net_notify_stopping();
	}
	close_listeners(f);
	cli_supervise_stop(&f->machine, now_ms());
	take_actions(f);
}

static void on_terminate(void *arg, unsigned times)
{
	(void)times;
	stop(arg);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	(void)number;
	stop(handle->data);
}

static enum base_err set_up(struct fabric *f)
{
	uv_loop_t *uv = net_loop_uv(f->loop);
	enum base_err err = net_loop_on_terminate(f->loop, on_terminate, f);

	if (err)
		return err;
	uv_timer_init(uv, &f->timer);
	uv_signal_init(uv, &f->on_child);
	uv_signal_init(uv, &f->on_hangup);
	f->timer.data = f->on_child.data = f->on_hangup.data = f;
	if (uv_signal_start(&f->on_child, on_child, SIGCHLD) != 0 ||
		uv_signal_start(&f->on_hangup, on_hangup, SIGHUP) != 0)
		return BASE_IO;
	err = cli_ready_new(f->loop, f->conf, on_ready, f, &f->ready);
	if (!err)
		err = cli_notes_new(f->loop, CLI_NOTIFY_SOCKET, on_note, f, &f->notes);
	if (!err)
		err = cli_control_new(f->loop, f->conf->control.fd, on_restart, f, &f->control);
	return err;
}

static void tear_down(struct fabric *f)
{
	cli_ready_free(&f->ready);
	cli_notes_free(&f->notes);
	if (!f->control)
		close(f->conf->control.fd);
	cli_control_free(&f->control);
	if (f->timer.data) {
		uv_close((uv_handle_t *)&f->timer, NULL);
		uv_close((uv_handle_t *)&f->on_child, NULL);
		uv_close((uv_handle_t *)&f->on_hangup, NULL);
	}
	net_loop_free(&f->loop);
}

int cli_fabric_run(const struct cli_fabric_conf *conf)
{
	struct fabric *f = calloc(1, sizeof *f);
	enum base_err err = BASE_NOMEM;
	uint64_t seed;
	int status = CLI_FAILED;

	if (!f)
		goto fail;
	f->conf = conf;
	f->listening = true;
	base_rand_system(&seed, sizeof seed);
	base_rand_init(&f->chance, seed);
	cli_supervise_init(&f->machine, conf->counts, conf->drain_ms);
	err = net_loop_new(&f->loop);
	if (!err)
		err = set_up(f);
	if (err)
		goto fail;
	f->begun_at = now_ms();
	cli_fabric_show_start(conf);
	cli_supervise_start(&f->machine, now_ms());
	take_actions(f);
	if (f->machine.phase != CLI_DONE)
		net_loop_run(f->loop);
	status = cli_supervise_status(&f->machine);
	base_log(BASE_INFO, "up_stopped", LOG_I64("status", status));
	cli_fabric_show_stopped(conf, status);
fail:
	if (err)
		cli_complain("cannot start: %s", base_err_text(err));
	if (f) {
		close_listeners(f);
		tear_down(f);
	}
	free(f);
	return status;
}
