#include "broker/core/ending.h"

#include <stdio.h>
#include <string.h>

#include "base/backoff.h"
#include "broker/core/callback.h"
#include "broker/core/pack.h"
#include "broker/core/parts.h"

/* ---- history -------------------------------------------------------------- */

/* The text's part of at most room bytes, without half a character. */
static char *part_of(char *out, size_t room, const char *text)
{
	size_t n = text ? strnlen(text, room - 1) : 0;

	while (n > 0 && text[n] != 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
		n--;
	memcpy(out, text ? text : "", n);
	out[n] = 0;
	return out;
}

/* What went well at once is not worth a word, unless somebody may ask. */
static void note_attempt(struct brk_core *core, struct brk_delivery *delivery, uint64_t started_us,
	const struct brk_outcome *outcome, bool done)
{
	Pirn__JournalAttempt attempt = PIRN__JOURNAL_ATTEMPT__INIT;
	uint64_t took_ms = core->now_us > started_us ? (core->now_us - started_us) / 1000 : 0;
	char worker[BRK_NAME_SIZE], error[STORE_HISTORY_TEXT - BRK_NAME_SIZE];

	if (done && !(delivery->flags & BRK_DELIVERY_KEEP_RESULT))
		return;
	attempt.has_attempt = attempt.has_started_ms = attempt.has_took_ms = true;
	attempt.attempt = delivery->attempt;
	attempt.started_ms = brk_owner_redis_ms(core) - took_ms;
	attempt.took_ms = (uint32_t)took_ms;
	attempt.has_status = outcome->reason == PIRN__REASON__NONE;
	attempt.status = outcome->status;
	attempt.has_reason = outcome->reason != PIRN__REASON__NONE;
	attempt.reason = outcome->reason;
	attempt.worker = outcome->worker ? part_of(worker, sizeof worker, outcome->worker) : NULL;
	attempt.error = outcome->error ? part_of(error, sizeof error, outcome->error) : NULL;
	brk_pack_attempt(core, delivery, &attempt);
}

/* ---- what follows --------------------------------------------------------- */

static const struct brk_payload no_payload;

/* A letter that cannot be made would be an event lost, and a result would be missed: then it is better to
 * die and be adopted. */
static void finish(struct brk_core *core, struct brk_delivery *delivery, struct brk_end *end,
	const struct brk_payload *payload)
{
	struct brk_emits *tell;

	end->delivery = delivery;
	end->ended_ms = brk_owner_redis_ms(core);
	tell = brk_callback_of(core, delivery, end, payload);
	if (tell) {
		tell->next = end->emits;
		end->emits = tell;
	}
	if (delivery->flags & BRK_DELIVERY_KEEP_RESULT) {
		end->result =
			brk_pack_result(core, delivery, end, payload, &end->result_data);
		if (!end->result)
			base_no_memory("a result that is to be kept");
	}
	if (end->how == STORE_DEAD) {
		end->letter = brk_pack_letter(core, delivery, end);
		if (!end->letter)
			base_no_memory("a dead letter");
	}
	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_END);
	if (BRK_FAULTY(core, TELL_END_EARLY))
		brk_query_ended(core, delivery, end);
	brk_ledger_settle(core, end);
}

/* Its runs are over, or fenced by fence_ms; only the first run's records may go at once. */
static void say_records(const struct brk_core *core, struct brk_end *end,
	const struct brk_delivery *delivery, bool recorded)
{
	bool doubt = delivery->flags & BRK_DELIVERY_DOUBT;

	end->no_records = (!doubt && !recorded) || BRK_FAULTY(core, FORGET_FENCE);
	end->only_run = !doubt && recorded && delivery->attempt == 1;
}

static void die(struct brk_core *core, struct brk_delivery *delivery, uint32_t reason,
	uint32_t status, const struct brk_payload *payload)
{
	struct brk_end end = { .how = STORE_DEAD,
		.end = PIRN__JOURNAL_END__END_DEAD,
		.reason = reason,
		.status = status };

	finish(core, delivery, &end, payload);
}

static void be_done(struct brk_core *core, struct brk_delivery *delivery,
	const struct brk_outcome *outcome, struct brk_emits *emits)
{
	struct brk_end end = {
		.how = STORE_ENDED,
		.end = PIRN__JOURNAL_END__END_DONE,
		.status = outcome->status,
		.emits = emits
	};

	if (outcome->doubt)
		delivery->flags |= BRK_DELIVERY_DOUBT;
	say_records(core, &end, delivery, outcome->recorded);
	finish(core, delivery, &end, &outcome->payload);
	if (!BRK_FAULTY(core, FANOUT_ENDS_ALL))
		return;
	for (struct brk_delivery *d = brk_delivery_first(core, delivery->id); d;
		d = brk_delivery_next(d))
		brk_event_cancel(core, d);
}

static void move(struct brk_core *core, struct brk_delivery *delivery)
{
	struct brk_end end = { .delivery = delivery, .how = STORE_MOVED };

	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_MOVE);
	brk_ledger_settle(core, &end);
}

/* Full jitter, of the failures since the budget began; what the service asked for is the least. */
static uint64_t retry_at(struct brk_core *core, const struct brk_delivery *delivery,
	const struct brk_outcome *outcome)
{
	const struct brk_retry *retry = &delivery->service->retry;
	uint32_t failures = delivery->attempt - delivery->budget + 1;
	uint64_t wait = base_backoff_ms(&core->rand, retry->base_ms, retry->max_ms, failures);

	if (outcome->no_state)
		wait = brk_drought_pause_ms(core);
	return brk_owner_redis_ms(core) +
	       (wait > outcome->retry_after_ms ? wait : outcome->retry_after_ms);
}

/* Only in a core that a test has broken. */
static struct brk_emits *store_apart(struct brk_core *core)
{
	struct brk_fan *fan = &core->fan;
	struct brk_parcel parcel = {
		fan->arrivals, fan->payloads, fan->n_arrivals, fan->deliveries
	};

	for (uint32_t i = 0; i < fan->n_arrivals; i++)
		fan->arrivals[i].promised = true;
	if (fan->n_arrivals > 0 && brk_ledger_store(core, &parcel))
		base_no_memory("what a run sends");
	return NULL;
}

/* As well. */
static void tell_apart(struct brk_core *core, const struct brk_delivery *delivery)
{
	struct brk_end end = { .delivery = NULL };
	struct brk_emits *tell = brk_callback_of(core, delivery, &end, &no_payload);

	if (tell)
		(void)store_apart(core);
	brk_emits_free(&tell);
}

static void retry(struct brk_core *core, struct brk_delivery *delivery,
	const struct brk_outcome *outcome, uint64_t not_before_ms)
{
	core->figures.events_retried++;
	delivery->service->events_retried++;
	if (BRK_TAILED(core))
		brk_tail_delivery(core, delivery, PIRN__NOTE_KIND__NOTE_FAILED, outcome->status,
			outcome->reason);
	if (BRK_FAULTY(core, CALLBACK_EACH_TRY))
		tell_apart(core, delivery);
	delivery->not_before_ms = not_before_ms;
	if (BRK_FAULTY(core, RETRY_BEFORE_SETTLED))
		brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_UNRUN), delivery->attempt++;
	else
		move(core, delivery);
}

/* ---- what an answer means -------------------------------------------------- */

static bool is_failure(const struct brk_outcome *outcome)
{
	return outcome->reason != PIRN__REASON__NONE || outcome->status >= 500 ||
	       outcome->status == 408 || outcome->status == 425 || outcome->status == 429;
}

/* Why it may not run again; NONE: it may. */
static uint32_t judge_retry(
	const struct brk_core *core, const struct brk_delivery *delivery, uint64_t not_before_ms)
{
	uint32_t attempts = brk_run_attempts(delivery);

	if (delivery->deaths >= BRK_DEATHS_POISON)
		return PIRN__REASON__POISON;
	if (attempts > 0 && delivery->attempt >= attempts && !BRK_FAULTY(core, RETRY_FOREVER))
		return PIRN__REASON__EXHAUSTED;
	if (delivery->not_after_ms > 0 && not_before_ms >= delivery->not_after_ms)
		return PIRN__REASON__EXPIRED;
	return PIRN__REASON__NONE;
}

static void fail(
	struct brk_core *core, struct brk_delivery *delivery, const struct brk_outcome *outcome)
{
	uint64_t at = retry_at(core, delivery, outcome);
	uint32_t reason;

	if (outcome->no_state && !BRK_FAULTY(core, DROUGHT_COUNTED))
		delivery->budget++;
	reason = judge_retry(core, delivery, at);
	if (outcome->recorded || outcome->doubt)
		delivery->flags |= BRK_DELIVERY_DOUBT;
	if (reason == PIRN__REASON__NONE)
		retry(core, delivery, outcome, at);
	else
		die(core, delivery, reason, outcome->status, &outcome->payload);
}

/* What a run that went well sends; why that cannot be is its failure. */
static struct brk_emits *take_sent(struct brk_core *core, const struct brk_delivery *delivery,
	struct brk_outcome *outcome)
{
	struct brk_emitter emitter = { .id = delivery->id,
		.service = delivery->service,
		.trace = delivery->flags & BRK_DELIVERY_TRACED ? delivery->trace : NULL,
		.hops = delivery->hops };

	if (outcome->sent_size == 0)
		return NULL;
	if (is_failure(outcome) || outcome->status >= 400) {
		if (BRK_FAULTY(core, EMIT_FAILED) &&
			!brk_emit_read(core, &emitter, outcome->sent, outcome->sent_size))
			(void)store_apart(core);
		return NULL;
	}
	outcome->reason = brk_emit_read(core, &emitter, outcome->sent, outcome->sent_size);
	if (outcome->reason == PIRN__REASON__NONE)
		return BRK_FAULTY(core, EMIT_APART) ? store_apart(core) : brk_emit_take(core);
	outcome->status = 0;
	outcome->error = "what it sent was not taken";
	outcome->payload = no_payload;
	return NULL;
}

void brk_ending_run(struct brk_core *core, struct brk_delivery *delivery, uint64_t started_us,
	struct brk_outcome *outcome)
{
	struct brk_emits *emits = take_sent(core, delivery, outcome);
	bool failure = is_failure(outcome);

	delivery->flags &= (uint8_t)~BRK_DELIVERY_FOREIGN;
	note_attempt(core, delivery, started_us, outcome, !failure && outcome->status < 400);
	if (failure)
		fail(core, delivery, outcome);
	else if (outcome->status >= 400)
		die(core, delivery, PIRN__REASON__NONE, outcome->status, &outcome->payload);
	else
		be_done(core, delivery, outcome, emits);
}

/* ---- ends without a run ---------------------------------------------------- */

/* A run that its owner before may have sent counts as one: its operations are to be refused, too. */
static void count_unseen(struct brk_delivery *delivery)
{
	if ((delivery->flags & BRK_DELIVERY_FOREIGN) && delivery->state != BRK_DELIVERY_RUNNING)
		delivery->attempt++;
}

/* One that ran has something to tell, so it becomes a letter; one that never could run is gone. */
void brk_ending_expire(struct brk_core *core, struct brk_delivery *delivery)
{
	struct brk_end end = { .how = STORE_ENDED,
		.end = PIRN__JOURNAL_END__END_EXPIRED,
		.reason = PIRN__REASON__EXPIRED };
	bool ran = delivery->attempt >= delivery->budget;

	count_unseen(delivery);
	if (ran) {
		die(core, delivery, PIRN__REASON__EXPIRED, 0, &no_payload);
		return;
	}
	say_records(core, &end, delivery, false);
	finish(core, delivery, &end, &no_payload);
}

/* The first of these has not run, and none will. */
void brk_ending_look(struct brk_core *core, struct brk_delivery *delivery)
{
	if (delivery->hops > BRK_HOPS_MAX && !BRK_FAULTY(core, HOPS_UNBOUNDED))
		die(core, delivery, PIRN__REASON__HOPS, 0, &no_payload);
}

static void cancel(struct brk_core *core, struct brk_delivery *delivery)
{
	struct brk_end end = { .how = STORE_ENDED,
		.end = PIRN__JOURNAL_END__END_CANCELLED,
		.reason = PIRN__REASON__CANCELLED };

	count_unseen(delivery);
	if (delivery->state == BRK_DELIVERY_RUNNING) {
		delivery->flags |= BRK_DELIVERY_DOUBT;
		brk_run_drop(core, delivery);
	}
	say_records(core, &end, delivery, false);
	finish(core, delivery, &end, &no_payload);
}

bool brk_event_cancel(struct brk_core *core, struct brk_delivery *delivery)
{
	switch (delivery->state) {
	case BRK_DELIVERY_READY:
	case BRK_DELIVERY_WAITING:
	case BRK_DELIVERY_RUNNING:
		cancel(core, delivery);
		return true;
	case BRK_DELIVERY_MOVING:
		delivery->flags |= BRK_DELIVERY_CANCEL;
		return true;
	default:
		return false;
	}
}

/* ---- the end's answer ------------------------------------------------------ */

static void count_end(struct brk_core *core, struct brk_service *service, uint32_t end)
{
	switch (end) {
	case PIRN__JOURNAL_END__END_DONE:
		core->figures.events_done++;
		service->events_done++;
		break;
	case PIRN__JOURNAL_END__END_DEAD:
		core->figures.events_dead++;
		service->events_dead++;
		break;
	case PIRN__JOURNAL_END__END_EXPIRED:
		core->figures.events_expired++;
		service->events_expired++;
		break;
	default:
		core->figures.events_cancelled++;
		service->events_cancelled++;
	}
}

static void tell_watchers(struct brk_core *core, const struct brk_end *end)
{
	static const uint8_t kinds[] = {
		[PIRN__JOURNAL_END__END_DONE] = PIRN__NOTE_KIND__NOTE_DONE,
		[PIRN__JOURNAL_END__END_DEAD] = PIRN__NOTE_KIND__NOTE_DEAD,
		[PIRN__JOURNAL_END__END_EXPIRED] = PIRN__NOTE_KIND__NOTE_EXPIRED,
		[PIRN__JOURNAL_END__END_CANCELLED] = PIRN__NOTE_KIND__NOTE_CANCELLED,
	};

	brk_tail_delivery(core, end->delivery, kinds[end->end], end->status, end->reason);
}

void brk_ending_settled(struct brk_core *core, struct brk_end *end)
{
	struct brk_delivery *delivery = end->delivery;

	count_end(core, delivery->service, end->end);
	if (BRK_TAILED(core))
		tell_watchers(core, end);
	if (end->how == STORE_DEAD)
		brk_act_log(core, BRK_LOG_event_dead, delivery->service->name, end->reason);
	if (!BRK_FAULTY(core, TELL_END_EARLY))
		brk_query_ended(core, delivery, end);
	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_GONE);
	brk_end_drop(core, end);
}
