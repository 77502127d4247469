/* The list of events that have not ended: in the order of their ids, a page at a time. */
#include <stdlib.h>
#include <string.h>

#include "base/ulid.h"
#include "broker/core/parts.h"
#include "broker/core/watch.h"

#define LIMIT_STANDARD 100u

uint32_t brk_question_limit(const Pirn__Query *query)
{
	if (!query->has_limit || query->limit == 0)
		return LIMIT_STANDARD;
	return query->limit < BRK_MAX_LISTED ? query->limit : BRK_MAX_LISTED;
}

/* The first ones by id behind the cursor, in order; a later one makes room for an earlier one. */
struct page {
	struct brk_delivery **list;
	size_t n, room;
};

static int by_id(const struct brk_delivery *a, const struct brk_delivery *b)
{
	int order = memcmp(a->id, b->id, sizeof a->id);

	return order ? order : strcmp(a->service->name, b->service->name);
}

static void page_add(struct page *page, struct brk_delivery *d)
{
	size_t low = 0, high = page->n;

	if (page->n == page->room && by_id(d, page->list[page->n - 1]) > 0)
		return;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (by_id(page->list[middle], d) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (page->n == page->room)
		page->n--;
	memmove(&page->list[low + 1], &page->list[low], (page->n - low) * sizeof *page->list);
	page->list[low] = d;
	page->n++;
}

static bool is_asked_for(
	const struct brk_delivery *d, const Pirn__Query *query, const uint8_t after[16])
{
	if (d->state == BRK_DELIVERY_ARRIVING || memcmp(d->id, after, sizeof d->id) <= 0)
		return false;
	if (query->service && strcmp(d->service->name, query->service) != 0)
		return false;
	if (!query->has_state || query->state == 0)
		return true;
	return brk_answer_state(d) == query->state;
}

/* Walks all that is here: a list is for people, who ask seldom. */
static void find_page(struct brk_core *core, const Pirn__Query *query, struct page *page)
{
	uint8_t after[16] = { 0 };

	if (query->cursor && !base_ulid_parse(query->cursor, after))
		return; /* it was looked at before */
	for (size_t i = 0; i <= core->by_id.mask; i++)
		for (struct brk_delivery *d = core->by_id.buckets[i]; d; d = d->id_next)
			if (is_asked_for(d, query, after))
				page_add(page, d);
}

/* The last id is the cursor: all of its deliveries must be on this page. */
static size_t whole_events(const struct page *page, size_t limit)
{
	size_t n = page->n < limit ? page->n : limit;

	while (n < page->n && memcmp(page->list[n]->id, page->list[n - 1]->id, 16) == 0)
		n++;
	return n;
}

void brk_page_list(struct brk_core *core, struct brk_question *q, const Pirn__Query *query)
{
	size_t limit = brk_question_limit(query), n;
	struct page page = { .room = limit + STORE_ENTRY_DELIVERIES };
	Pirn__Answer answer;
	bool fits;

	page.list = calloc(page.room + 1, sizeof *page.list);
	if (page.list)
		find_page(core, query, &page);
	brk_answer_init(core, &answer); /* query is no more */
	fits = page.list != NULL;
	n = whole_events(&page, limit);
	for (size_t i = 0; i < n && fits; i++) {
		Pirn__Invocation *one = brk_answer_invocation(core, &answer, n);

		fits = one && brk_answer_live(core, page.list[i], one);
	}
	free(page.list);
	brk_answer_horizon(core, &answer);
	if (fits)
		brk_answer_send(core, &q->asker, &answer);
	else
		brk_answer_refuse(core, &q->asker, PIRN__REASON__OVERLOADED);
	brk_question_over(core, q);
}
