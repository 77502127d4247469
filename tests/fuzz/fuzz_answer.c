/* What an endpoint answers: any bytes are an answer, or what is wrong with them is said; and it is the same
 * whichever pieces they come in. The first byte says how they are cut, and what was asked.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "worker/http_answer.h"

#define MOST 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
	struct base_arena arena;
	struct wrk_answer answer;
	struct wrk_run run;
	size_t taken; /* bytes, up to the piece that ended it */
};

static void begin(struct reading *r, bool to_head)
{
	*r = (struct reading){ 0 };
	base_arena_init(&r->arena, 1024, (size_t)1 << 20);
	base_buf_init(&r->run.meta);
	base_buf_init(&r->run.body);
	wrk_answer_init(&r->answer);
	wrk_answer_open(&r->answer, &r->arena, &r->run, MOST, to_head);
}

static void end(struct reading *r)
{
	wrk_answer_fini(&r->answer);
	base_buf_fini(&r->run.meta);
	base_buf_fini(&r->run.body);
	base_arena_fini(&r->arena);
}

static void read_in_pieces(struct reading *r, const uint8_t *data, size_t size, size_t piece)
{
	bool more = true;

	while (more && r->taken < size) {
		size_t n = size - r->taken < piece ? size - r->taken : piece;

		more = wrk_answer_take(&r->answer, data + r->taken, n);
		r->taken += n;
	}
	if (more)
		wrk_answer_cut(&r->answer);
	assert(r->answer.end != WRK_HTTP_OK || r->answer.part == WRK_ANSWER_WHOLE);
	assert(r->run.body.size <= MOST);
	(void)wrk_answer_retry_after_ms(&r->answer);
	if (r->answer.end == WRK_HTTP_OK)
		assert(wrk_answer_seal(&r->answer, &r->run) == WRK_HTTP_OK);
}

static void compare(const struct reading *a, const struct reading *b)
{
	assert(a->answer.end == b->answer.end);
	if (a->answer.end != WRK_HTTP_OK)
		return;
	assert(a->run.status == b->run.status && a->run.status >= 200 && a->run.status <= 599);
	assert(a->run.meta.size == b->run.meta.size && a->run.body.size == b->run.body.size);
	assert(memcmp(a->run.meta.data, b->run.meta.data, a->run.meta.size) == 0);
	assert(memcmp(a->run.body.data, b->run.body.data, a->run.body.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading whole, pieces;
	bool to_head;
	size_t piece;

	if (size == 0)
		return 0;
	to_head = data[0] & 1;
	piece = (data[0] >> 1) + 1u;
	begin(&whole, to_head);
	begin(&pieces, to_head);
	read_in_pieces(&whole, data + 1, size - 1, size);
	read_in_pieces(&pieces, data + 1, size - 1, piece);
	compare(&whole, &pieces);
	end(&whole);
	end(&pieces);
	return 0;
}
