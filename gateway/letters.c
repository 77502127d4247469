#include "gateway/letters.h"

#include <stdio.h>

#include "base/text.h"
#include "base/when.h"
#include "gateway/show.h"

static bool read_reason(const struct gw_param *p, struct gw_letter_filter *f, char *why)
{
	char quoted[BASE_TEXT_QUOTED];

	f->has_reason = p->text[0] != '\0';
	if (!f->has_reason || gw_reason_parse(p->text, &f->reason))
		return true;
	base_text_quote(quoted, sizeof quoted, p->text, strlen(p->text));
	(void)snprintf(why, GW_PARAM_WHY,
		"There is no reason %s; expected one such as exhausted, poison or worker_lost.",
		quoted);
	return false;
}

static bool read_time(const struct gw_param *p, uint64_t *ms, char *why)
{
	*ms = 0;
	if (!p->text[0] || base_when_parse(p->text, strlen(p->text), ms))
		return true;
	(void)snprintf(why, GW_PARAM_WHY,
		"The parameter %s is not a time such as 2030-01-31T09:00:00Z.", p->name);
	return false;
}

bool gw_letters_filter(
	const struct gw_param *params, struct gw_letter_filter *out, char why[GW_PARAM_WHY])
{
	out->has_status = params[GW_LETTER_STATUS].text[0] != '\0';
	return read_reason(&params[GW_LETTER_REASON], out, why) &&
	       gw_params_u32(&params[GW_LETTER_STATUS], 0, 100, 599, &out->status, why) &&
	       read_time(&params[GW_LETTER_BEFORE], &out->before_ms, why) &&
	       read_time(&params[GW_LETTER_AFTER], &out->after_ms, why);
}

bool gw_letters_match(const struct gw_letter_filter *f, const Pirn__Letter *letter)
{
	const Pirn__JournalEvent *e = letter->event;
	const Pirn__JournalDelivery *d = e->n_deliveries ? e->deliveries[0] : NULL;
	uint32_t status = d && d->n_history ? d->history[d->n_history - 1]->status : 0;
	uint64_t died_ms = d ? d->ended_ms : 0;

	return (!f->has_reason || (d && d->reason == f->reason)) &&
	       (!f->has_status || status == f->status) &&
	       (f->before_ms == 0 || died_ms < f->before_ms) && died_ms >= f->after_ms;
}
