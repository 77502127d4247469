#include "client/errors.h"

static const struct {
	const char *name, *text;
	bool retryable;
} errors[] = {
#define X(name, number, retryable, text) [number] = { #name, text, retryable },
	PIRN_CLIENT_ERRORS(X)
#undef X
};

static bool is_error(enum pirn_client_err err)
{
	return (size_t)err < sizeof errors / sizeof errors[0];
}

const char *pirn_client_err_name(enum pirn_client_err err)
{
	return is_error(err) ? errors[err].name : "?";
}

const char *pirn_client_err_text(enum pirn_client_err err)
{
	return is_error(err) ? errors[err].text : "an unknown error";
}

bool pirn_client_err_retryable(enum pirn_client_err err)
{
	return is_error(err) && errors[err].retryable;
}

enum pirn_client_err client_err_of_reason(enum _Pirn__Reason reason)
{
	static const uint8_t map[] = {
		[PIRN__REASON__NONE] = PIRN_CLIENT_OK,
		[PIRN__REASON__UNKNOWN_SERVICE] = PIRN_CLIENT_UNKNOWN_SERVICE,
		[PIRN__REASON__NO_WORKER] = PIRN_CLIENT_NO_WORKER,
		[PIRN__REASON__OVERLOADED] = PIRN_CLIENT_OVERLOADED,
		[PIRN__REASON__QUEUE_FULL] = PIRN_CLIENT_QUEUE_FULL,
		[PIRN__REASON__DEADLINE] = PIRN_CLIENT_DEADLINE,
		[PIRN__REASON__WORKER_LOST] = PIRN_CLIENT_LOST,
		[PIRN__REASON__DRAINING] = PIRN_CLIENT_DRAINING,
		[PIRN__REASON__TOO_LARGE] = PIRN_CLIENT_TOO_LARGE,
		[PIRN__REASON__MALFORMED] = PIRN_CLIENT_REFUSED,
		[PIRN__REASON__UNSUPPORTED] = PIRN_CLIENT_UNSUPPORTED,
		[PIRN__REASON__BREAKER_OPEN] = PIRN_CLIENT_BREAKER_OPEN,
		[PIRN__REASON__BREAKER_FORCED] = PIRN_CLIENT_BREAKER_OPEN,
		[PIRN__REASON__CANCELLED] = PIRN_CLIENT_CLOSED,
		[PIRN__REASON__CRASHED] = PIRN_CLIENT_CRASHED,
		[PIRN__REASON__NO_BROKER] = PIRN_CLIENT_NO_BROKER,
		[PIRN__REASON__NOT_DURABLE] = PIRN_CLIENT_NOT_DURABLE,
		[PIRN__REASON__KEY_BUSY] = PIRN_CLIENT_KEY_BUSY,
		[PIRN__REASON__KEY_BODY] = PIRN_CLIENT_KEY_BODY,
		[PIRN__REASON__KEYS_FULL] = PIRN_CLIENT_KEYS_FULL,
		[PIRN__REASON__UNDECIDED] = PIRN_CLIENT_UNDECIDED,
		[PIRN__REASON__MOVED] = PIRN_CLIENT_UNDECIDED,
		[PIRN__REASON__POISON] = PIRN_CLIENT_CRASHED,
		[PIRN__REASON__LEASE] = PIRN_CLIENT_DEADLINE,
		[PIRN__REASON__EXHAUSTED] = PIRN_CLIENT_CRASHED,
		[PIRN__REASON__EXPIRED] = PIRN_CLIENT_DEADLINE,
		[PIRN__REASON__NO_SUBSCRIBER] = PIRN_CLIENT_NO_SUBSCRIBER,
		[PIRN__REASON__UNSENT] = PIRN_CLIENT_UNSENT,
	};

	return (size_t)reason < sizeof map ? (enum pirn_client_err)map[reason]
					   : PIRN_CLIENT_REFUSED;
}

enum pirn_client_err client_err_of_base(enum base_err err)
{
	switch (err) {
	case BASE_FULL:
		return PIRN_CLIENT_FULL;
	case BASE_TOO_LARGE:
		return PIRN_CLIENT_TOO_LARGE;
	case BASE_INVALID:
	case BASE_CONFIG:
		return PIRN_CLIENT_INVALID;
	case BASE_NOMEM:
		return PIRN_CLIENT_NOMEM;
	case BASE_CANCELLED:
		return PIRN_CLIENT_CLOSED;
	default:
		return PIRN_CLIENT_SYSTEM;
	}
}
