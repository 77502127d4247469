/* What comes back from an operation of a run that records, for its thread. */
#include "worker/state.h"

static enum base_err err_of(const struct store_run_result *from)
{
	switch (from->says.code) {
	case STORE_DONE:
		return from->err;
	case STORE_AWAY:
		return BASE_UNAVAILABLE;
	case STORE_OOM:
		return BASE_FULL;
	case STORE_LOST:
		return BASE_IO;
	case STORE_BROKEN: /* it may have happened all the same, and asking again will not help */
		return BASE_PROTOCOL;
	default:
		return BASE_DENIED;
	}
}

static void add_u32(struct base_buf *b, uint32_t n)
{
	base_buf_add(b, &n, sizeof n);
}

/* As state.c packs a hash that came by itself. */
static void copy_pairs(struct base_buf *b, struct store_arg pairs)
{
	struct store_arg text;
	uint32_t n = 0;
	size_t at = 0;

	while (store_record_next(pairs, &at, &text))
		n++;
	add_u32(b, n / 2);
	for (at = 0; store_record_next(pairs, &at, &text);) {
		add_u32(b, (uint32_t)text.size);
		base_buf_add(b, text.data, text.size);
		base_buf_chr(b, '\0');
	}
}

static void copy_value(struct wrk_state_result *out, const struct store_run_result *from)
{
	out->number = from->number;
	out->has_value = from->value.data != NULL;
	if (out->has_value)
		base_buf_add(&out->bytes, from->value.data, from->value.size);
	else if (from->pairs.data && from->record.data)
		copy_pairs(&out->bytes, from->pairs);
}

enum base_err wrk_state_copy_record(
	struct wrk_state_result *out, const struct store_run_result *from)
{
	enum base_err err = err_of(from);

	out->code = from->says.code;
	if (out->code != STORE_DONE)
		return err;
	out->replayed = from->replayed;
	if (err == BASE_OK)
		copy_value(out, from);
	if (from->record.data) /* a read's failure is recorded too */
		base_buf_add(&out->record, from->record.data, from->record.size);
	else
		base_buf_add(&out->record, from->pairs.data, from->pairs.size);
	return out->bytes.failed || out->record.failed ? BASE_NOMEM : err;
}
