/* See credit.h. Every change ends in balance(): first what is spare is given
 * away, then, when somebody is still hungry, it is asked for. The common case, a
 * run that ends and gives its unit back to where it came from while nobody is
 * hungry, does not get there.
 */
#include "worker/credit.h"

#include <assert.h>
#include <string.h>

#define BIT(link) (UINT64_C(1) << (link))

/* Walks the links that are up; a worker has one to three, of 64. */
#define EACH_UP(c, i) \
	for (uint64_t bits_ = (c)->up; bits_ && ((i) = (uint32_t)__builtin_ctzll(bits_), true); \
		bits_ &= bits_ - 1)

static bool is_up(const struct wrk_credit *c, uint32_t link)
{
	return c->up & BIT(link);
}

static bool is_asked(const struct wrk_credit_link *l)
{
	return l->target != l->granted;
}

static uint64_t free_of(const struct wrk_credit_link *l)
{
	return l->granted > l->received ? l->granted - l->received : 0;
}

static uint64_t spare(const struct wrk_credit *c)
{
	uint64_t out = c->running;
	uint32_t i;

	EACH_UP(c, i)
	out += free_of(&c->links[i]);
	return out < c->total ? c->total - out : 0;
}

/* It lacks credit: for a backlog that it told of, or for its share. */
static bool is_hungry(const struct wrk_credit_link *l)
{
	return l->waiting > free_of(l) || l->share > 0;
}

/* What a broker overdrew is made good: it counts from received on. */
static void give(struct wrk_credit *c, uint32_t link)
{
	struct wrk_credit_link *l = &c->links[link];

	if (l->granted < l->received)
		l->granted = l->received;
	l->target = ++l->granted;
	l->share -= l->share > 0;
	c->dirty |= BIT(link);
}

/* The next link in turn that is hungry and may be given something, or none. */
static uint32_t hungry(const struct wrk_credit *c)
{
	uint32_t first = WRK_CREDIT_NONE, i;

	EACH_UP(c, i)
	{
		if (!is_hungry(&c->links[i]) || is_asked(&c->links[i]))
			continue;
		if (i >= c->turn)
			return i;
		if (first == WRK_CREDIT_NONE)
			first = i;
	}
	return first;
}

/* The link with the least free credit. */
static uint32_t poorest(const struct wrk_credit *c)
{
	uint32_t best = WRK_CREDIT_NONE, i;

	EACH_UP(c, i)
	if (!is_asked(&c->links[i]) &&
		(best == WRK_CREDIT_NONE || free_of(&c->links[i]) < free_of(&c->links[best])))
		best = i;
	return best;
}

static void share_out(struct wrk_credit *c)
{
	for (uint64_t n = spare(c); n > 0; n--) {
		uint32_t link = hungry(c);

		if (link != WRK_CREDIT_NONE)
			c->turn = (link + 1) % WRK_CREDIT_LINKS;
		else if ((link = poorest(c)) == WRK_CREDIT_NONE)
			return;
		give(c, link);
	}
}

static uint64_t lack(const struct wrk_credit_link *l)
{
	uint64_t free = free_of(l), backlog = l->waiting > free ? l->waiting - free : 0;

	return backlog > l->share ? backlog : l->share;
}

/* What the hungry still lack beyond what was asked for already. */
static uint64_t lack_of_all(const struct wrk_credit *c)
{
	uint64_t wanted = 0, asked = 0;
	uint32_t i;

	EACH_UP(c, i)
	{
		wanted += lack(&c->links[i]);
		asked += c->links[i].granted - c->links[i].target;
	}
	return wanted > asked ? wanted - asked : 0;
}

/* Half of what a link has beyond its own backlog. */
static uint64_t surplus(const struct wrk_credit_link *l)
{
	uint64_t free = free_of(l);

	return is_hungry(l) || free <= l->waiting ? 0 : (free - l->waiting + 1) / 2;
}

/* Asks links for what they have and do not need. One that was given something it has not been told of yet
 * is passed over until it was. */
static void ask_back(struct wrk_credit *c)
{
	uint64_t wanted = lack_of_all(c);
	uint32_t i;

	EACH_UP(c, i)
	{
		struct wrk_credit_link *l = &c->links[i];
		uint64_t part = surplus(l);

		if (part > wanted)
			part = wanted;
		if (part == 0 || is_asked(l))
			continue;
		if (c->dirty & BIT(i)) {
			c->again = true;
			continue;
		}
		l->target = l->granted - part;
		wanted -= part;
		c->dirty |= BIT(i);
	}
}

static void balance(struct wrk_credit *c)
{
	if (c->stopped || c->up == 0)
		return;
	share_out(c);
	if (hungry(c) != WRK_CREDIT_NONE)
		ask_back(c);
}

void wrk_credit_init(struct wrk_credit *c, uint32_t total)
{
	memset(c, 0, sizeof *c);
	c->total = total;
}

void wrk_credit_up(struct wrk_credit *c, uint32_t link)
{
	assert(link < WRK_CREDIT_LINKS && !is_up(c, link));
	c->links[link] = (struct wrk_credit_link){ 0 };
	c->up |= BIT(link);
	c->links[link].share = c->total / (uint32_t)__builtin_popcountll(c->up);
	balance(c);
}

void wrk_credit_down(struct wrk_credit *c, uint32_t link)
{
	assert(link < WRK_CREDIT_LINKS && is_up(c, link));
	c->up &= ~BIT(link);
	c->dirty &= ~BIT(link);
	balance(c);
}

bool wrk_credit_dispatch(struct wrk_credit *c, uint32_t link)
{
	struct wrk_credit_link *l = &c->links[link];
	bool granted = l->received < l->granted;

	assert(is_up(c, link));
	l->received++;
	c->running++;
	return granted;
}

void wrk_credit_result(struct wrk_credit *c, uint32_t link)
{
	assert(c->running > 0);
	c->running--;
	if (link != WRK_CREDIT_NONE && is_up(c, link) && !c->stopped &&
		!is_asked(&c->links[link]) && hungry(c) == WRK_CREDIT_NONE && spare(c) > 0)
		give(c, link);
	else
		balance(c);
}

void wrk_credit_report(struct wrk_credit *c, uint32_t link, uint64_t waiting)
{
	assert(is_up(c, link));
	c->links[link].waiting = waiting;
	balance(c);
}

void wrk_credit_lowered(struct wrk_credit *c, uint32_t link, uint64_t granted, uint64_t waiting)
{
	struct wrk_credit_link *l = &c->links[link];

	if (is_asked(l) && granted == l->target)
		l->granted = l->target;
	wrk_credit_report(c, link, waiting);
}

void wrk_credit_stop(struct wrk_credit *c)
{
	c->stopped = true;
	c->again = false;
	c->dirty = 0;
}

bool wrk_credit_next(struct wrk_credit *c, uint32_t *link, uint64_t *granted)
{
	if (c->dirty == 0 && c->again) {
		c->again = false;
		balance(c);
	}
	if (c->dirty == 0)
		return false;
	*link = (uint32_t)__builtin_ctzll(c->dirty);
	*granted = c->links[*link].target;
	c->dirty &= ~BIT(*link);
	return true;
}

uint64_t wrk_credit_free(const struct wrk_credit *c, uint32_t link)
{
	return free_of(&c->links[link]);
}

void wrk_credit_check(const struct wrk_credit *c)
{
	uint32_t i;

	assert((c->dirty & ~c->up) == 0);
	EACH_UP(c, i)
	{
		const struct wrk_credit_link *l = &c->links[i];

		assert(l->target <= l->granted);
		assert(free_of(l) <= c->total);
	}
}
