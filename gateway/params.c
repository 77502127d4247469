#include "gateway/params.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/conf.h"
#include "base/text.h"
#include "gateway/target.h"

/* As forms write it: + is a blank. */
static bool decode(struct gw_slice in, char out[GW_PARAM_MAX + 1])
{
	char plain[3 * GW_PARAM_MAX];
	char decoded[3 * GW_PARAM_MAX];
	long n;

	if (in.size > sizeof plain)
		return false;
	for (size_t i = 0; i < in.size; i++)
		plain[i] = in.data[i] == '+' ? ' ' : in.data[i];
	n = gw_target_decode((struct gw_slice){ plain, in.size }, decoded);
	if (n < 0 || n > GW_PARAM_MAX || memchr(decoded, '\0', (size_t)n))
		return false;
	memcpy(out, decoded, (size_t)n);
	out[n] = '\0';
	return true;
}

static void tell_unknown(const struct gw_param *params, struct gw_slice name, char *why)
{
	char quoted[BASE_TEXT_QUOTED];
	int n;

	base_text_quote(quoted, sizeof quoted, name.data, name.size);
	n = snprintf(why, GW_PARAM_WHY, "There is no parameter %s here", quoted);
	for (size_t i = 0; params[i].name && n < GW_PARAM_WHY; i++)
		n += snprintf(why + n, GW_PARAM_WHY - (size_t)n, "%s%s",
			i == 0 ? "; expected " : ", ", params[i].name);
	if (n < GW_PARAM_WHY - 1)
		(void)stpcpy(why + n, ".");
}

static bool take(struct gw_slice piece, struct gw_param *params, char *why)
{
	struct gw_slice value = piece, name = gw_slice_cut(&value, '=');
	struct gw_param *p = params;

	while (p->name && !gw_slice_equal(name, gw_slice_of(p->name)))
		p++;
	if (!p->name) {
		tell_unknown(params, name, why);
		return false;
	}
	if (p->text[0])
		(void)snprintf(why, GW_PARAM_WHY, "The parameter %s is given twice.", p->name);
	else if (!decode(value, p->text) || !p->text[0])
		(void)snprintf(why, GW_PARAM_WHY,
			"The parameter %s is empty, too long or not well encoded.", p->name);
	else
		return true;
	return false;
}

bool gw_params_read(struct gw_slice query, struct gw_param *params, char why[GW_PARAM_WHY])
{
	for (struct gw_param *p = params; p->name; p++)
		p->text[0] = '\0';
	while (query.size) {
		struct gw_slice piece = gw_slice_cut(&query, '&');
		if (piece.size && !take(piece, params, why))
			return false;
	}
	return true;
}

bool gw_params_u32(const struct gw_param *p, uint32_t standard, uint32_t min, uint32_t max,
	uint32_t *out, char why[GW_PARAM_WHY])
{
	uint64_t n = standard;

	if (p->text[0] && (!base_conf_u64(p->text, &n) || n < min || n > max)) {
		(void)snprintf(why, GW_PARAM_WHY,
			"The parameter %s is not a number from %" PRIu32 " to %" PRIu32 ".",
			p->name, min, max);
		return false;
	}
	*out = (uint32_t)n;
	return true;
}
