#include "net/link.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "net/socket.h"

#define ARENA_FIRST (512 * 1024)
#define ARENA_MAX   (8 * 1024 * 1024)
#define MAX_TARGETS 64

/* ---- up and down ----------------------------------------------------------- */

void net_links_came_up(struct net_link *k, const Pirn__Welcome *welcome)
{
	struct net_links *l = k->links;

	assert(l->n_up < l->n_all);
	l->up[l->n_up++] = k;
	l->events.on_up(l->events.arg, k, welcome);
}

static void wake_twins(struct net_links *l, const uint8_t boot[16])
{
	for (size_t i = 0; i < l->n_all; i++)
		if (memcmp(l->all[i]->boot, boot, 16) == 0)
			net_link_wake_twin(l->all[i]);
}

void net_links_went_down(struct net_link *k)
{
	struct net_links *l = k->links;
	size_t i = 0;

	while (i < l->n_up && l->up[i] != k)
		i++;
	assert(i < l->n_up);
	memmove(&l->up[i], &l->up[i + 1], (l->n_up - i - 1) * sizeof(struct net_link *));
	l->n_up--;
	if (k->state != NET_LINK_TWIN)
		wake_twins(l, k->boot);
	l->sweep |= k->leaving;
	l->events.on_down(l->events.arg, k);
}

struct net_link *net_links_find_boot(struct net_links *l, const uint8_t boot[16])
{
	for (size_t i = 0; i < l->n_up; i++)
		if (memcmp(l->up[i]->boot, boot, 16) == 0)
			return l->up[i];
	return NULL;
}

/* ---- which links there should be ------------------------------------------- */

static struct net_link *find_link(struct net_links *l, const char *endpoint)
{
	for (size_t i = 0; i < l->n_all; i++)
		if (strcmp(l->all[i]->endpoint, endpoint) == 0)
			return l->all[i];
	return NULL;
}

static bool is_wanted(const struct net_links *l, const char *endpoint)
{
	for (size_t t = 0; t < l->n_targets; t++)
		for (size_t i = 0; i < l->targets[t].n_addresses; i++)
			if (strcmp(l->targets[t].addresses[i], endpoint) == 0)
				return true;
	return false;
}

static bool grow(struct net_links *l)
{
	struct net_link **all = realloc(l->all, (l->n_all + 1) * sizeof(struct net_link *));
	struct net_link **up;

	if (!all)
		return false;
	l->all = all;
	up = realloc(l->up, (l->n_all + 1) * sizeof(struct net_link *));
	if (!up)
		return false;
	l->up = up;
	return true;
}

static enum base_err want(struct net_links *l, const char *endpoint)
{
	struct net_link *k = find_link(l, endpoint);

	if (k) {
		k->leaving = false;
		return BASE_OK;
	}
	if (!grow(l))
		return BASE_NOMEM;
	k = net_link_new(l, endpoint);
	if (!k)
		return BASE_NOMEM;
	l->all[l->n_all++] = k;
	return BASE_OK;
}

static void forget(struct net_links *l, size_t i)
{
	struct net_link *k = l->all[i];

	base_log(BASE_INFO, "link_removed", LOG_STR("endpoint", k->endpoint));
	l->all[i] = l->all[--l->n_all];
	net_link_free(&k, true);
}

/* A link that is up stays until it falls, or until its broker has drained. */
static void sweep(struct net_links *l)
{
	l->sweep = false;
	for (size_t i = l->n_all; i-- > 0;)
		if (l->all[i]->leaving && l->all[i]->state != NET_LINK_UP)
			forget(l, i);
}

static enum base_err adopt(struct net_links *l)
{
	enum base_err err = BASE_OK;

	for (size_t i = 0; i < l->n_all; i++) {
		l->all[i]->leaving = !is_wanted(l, l->all[i]->endpoint);
		l->sweep |= l->all[i]->leaving;
	}
	for (size_t t = 0; t < l->n_targets; t++)
		for (size_t i = 0; !err && i < l->targets[t].n_addresses; i++)
			err = want(l, l->targets[t].addresses[i]);
	return err;
}

static void free_list(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

static enum base_err set_addresses(struct net_links_target *t, const char *const *list, size_t n)
{
	char **copy = calloc(n, sizeof *copy);

	if (!copy)
		return BASE_NOMEM;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(list[i]);
		if (!copy[i]) {
			free_list(copy, i);
			return BASE_NOMEM;
		}
	}
	free_list(t->addresses, t->n_addresses);
	t->addresses = copy;
	t->n_addresses = n;
	return BASE_OK;
}

static bool is_same(const struct net_links_target *t, const char *const *list, size_t n)
{
	if (n != t->n_addresses)
		return false;
	for (size_t i = 0; i < n; i++)
		if (strcmp(t->addresses[i], list[i]) != 0)
			return false;
	return true;
}

static void on_resolved(void *arg, const char *const *endpoints, size_t n)
{
	struct net_links_target *t = arg;
	enum base_err err;

	if (is_same(t, endpoints, n))
		return;
	err = set_addresses(t, endpoints, n);
	if (!err)
		err = adopt(t->links);
	if (err)
		base_log(BASE_ERROR, "resolve_failed", LOG_STR("endpoint", t->endpoint.text),
			LOG_ERR(err));
}

/* ---- the turn -------------------------------------------------------------- */

static void on_broken(void *arg, struct net_dest *dest)
{
	struct net_links *l = arg;

	(void)dest; /* its link looks, in READ */
	net_loop_again(l->loop);
}

static bool on_read(void *arg)
{
	struct net_links *l = arg;
	bool more = false;

	for (size_t i = 0; i < l->n_all; i++)
		more |= net_link_turn(l->all[i]);
	if (l->sweep)
		sweep(l);
	return more;
}

static bool on_flush(void *arg)
{
	struct net_links *l = arg;

	if (!net_outbox_flush(&l->outbox))
		return false;
	for (size_t i = 0; i < l->n_all; i++)
		if (l->all[i]->socket && net_socket_readable(l->all[i]->socket))
			net_wake_again(l->all[i]->wake);
	return false;
}

/* ---- birth and death ------------------------------------------------------- */

static enum base_err add_target(struct net_links *l, const char *text, size_t size, char **why)
{
	struct net_links_target *t = &l->targets[l->n_targets];
	const char *reason, *literal = t->endpoint.text;
	struct base_buf sentence;

	if (!net_endpoint_parse(text, size, &t->endpoint, &reason)) {
		l->n_targets++;
		t->links = l;
		return t->endpoint.kind == NET_ENDPOINT_LITERAL ? set_addresses(t, &literal, 1)
								: BASE_OK;
	}
	base_buf_init(&sentence);
	base_buf_fmt(&sentence, "broker \"%.*s\": %s", (int)size, text, reason);
	*why = (char *)base_buf_take(&sentence);
	return BASE_CONFIG;
}

static enum base_err add_targets(struct net_links *l, const char *brokers, char **why)
{
	size_t n = 1;

	for (const char *at = brokers; *at; at++)
		n += *at == ',';
	if (n > MAX_TARGETS) {
		*why = strdup("more than 64 brokers are listed");
		return BASE_CONFIG;
	}
	l->targets = calloc(n, sizeof *l->targets);
	if (!l->targets)
		return BASE_NOMEM;
	for (const char *at = brokers;; at++) {
		size_t size = strcspn(at, ",");
		enum base_err err = add_target(l, at, size, why);

		at += size;
		if (err || *at == '\0')
			return err;
	}
}

/* Targets do not move any more: resolvers hold on to them. */
static enum base_err start(struct net_links *l)
{
	enum base_err err = adopt(l);

	for (size_t i = 0; !err && i < l->n_targets; i++) {
		struct net_links_target *t = &l->targets[i];
		if (t->endpoint.kind == NET_ENDPOINT_NAME)
			err = net_resolver_new(l->loop, &t->endpoint, on_resolved, t, &t->resolver);
	}
	if (!err)
		err = net_loop_hook(l->loop, NET_READ, on_read, l, &l->read_hook);
	if (!err)
		err = net_loop_hook(l->loop, NET_FLUSH, on_flush, l, &l->flush_hook);
	return err;
}

enum base_err net_links_new(struct net_loop *loop, const struct net_links_conf *conf,
	const struct net_links_events *events, struct net_links **out, char **why)
{
	struct net_links *l = calloc(1, sizeof *l);
	enum base_err err = BASE_NOMEM;
	uint64_t seed;

	if (!l)
		return err;
	l->loop = loop;
	l->conf = *conf;
	l->conf.brokers = NULL;
	l->conf.name = strdup(conf->name ? conf->name : "");
	l->events = *events;
	base_arena_init(&l->arena, ARENA_FIRST, ARENA_MAX);
	net_outbox_init(&l->outbox, on_broken, l);
	base_rand_system(&seed, sizeof seed);
	base_rand_init(&l->rand, seed);
	if (!l->conf.name)
		goto fail;
	err = add_targets(l, conf->brokers, why);
	if (err)
		goto fail;
	err = start(l);
	if (err)
		goto fail;
	*out = l;
	return BASE_OK;
fail:
	net_links_free(&l);
	return err;
}

void net_links_free(struct net_links **lp)
{
	struct net_links *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	net_loop_unhook(&l->read_hook);
	net_loop_unhook(&l->flush_hook);
	net_outbox_flush(&l->outbox);
	for (size_t i = 0; i < l->n_all; i++)
		net_link_free(&l->all[i], true);
	for (size_t i = 0; l->targets && i < l->n_targets; i++) {
		net_resolver_free(&l->targets[i].resolver);
		free_list(l->targets[i].addresses, l->targets[i].n_addresses);
	}
	net_outbox_fini(&l->outbox);
	base_arena_fini(&l->arena);
	free(l->targets);
	free(l->all);
	free(l->up);
	free((char *)(uintptr_t)l->conf.name);
	free(l);
}

/* ---- what users ask and say ------------------------------------------------ */

size_t net_links_up(const struct net_links *l)
{
	return l->n_up;
}

struct net_link *net_links_at(struct net_links *l, size_t i)
{
	assert(i < l->n_up);
	return l->up[i];
}

const char *net_link_name(const struct net_link *k)
{
	return k->name[0] ? k->name : k->endpoint;
}

const uint8_t *net_link_boot(const struct net_link *k)
{
	return k->boot;
}

bool net_link_draining(const struct net_link *k)
{
	return k->draining;
}

void net_link_set_user(struct net_link *k, void *user)
{
	k->user = user;
}

void *net_link_user(const struct net_link *k)
{
	return k->user;
}

enum base_err net_link_item(
	struct net_link *k, uint32_t kind, Pirn__Item *item, const struct net_payload *payload)
{
	return k->state == NET_LINK_UP ? net_dest_item(&k->dest, kind, item, payload) : BASE_GONE;
}

enum base_err net_link_run(struct net_link *k, uint32_t kind, Pirn__Item *items,
	const struct net_payload *payloads, size_t n)
{
	return k->state == NET_LINK_UP ? net_dest_run(&k->dest, kind, items, payloads, n)
				       : BASE_GONE;
}

enum base_err net_link_credit(struct net_link *k, const Pirn__Credit *credit)
{
	return k->state == NET_LINK_UP ? net_dest_credit(&k->dest, credit) : BASE_GONE;
}

enum base_err net_link_control(struct net_link *k, uint32_t kind, const ProtobufCMessage *message)
{
	return k->state == NET_LINK_UP ? net_dest_control(&k->dest, kind, message) : BASE_GONE;
}

void net_links_drain(struct net_links *l)
{
	for (size_t i = 0; i < l->n_up; i++)
		if (l->up[i]->drain_asked == 0)
			net_link_ask_drain(l->up[i]);
}

void net_links_hello_again(struct net_links *l)
{
	for (size_t i = 0; i < l->n_up; i++)
		net_link_greet(l->up[i], true);
}

void net_links_set_services(struct net_links *l, Pirn__Manifest **services, size_t n_services)
{
	l->conf.services = services;
	l->conf.n_services = n_services;
}
