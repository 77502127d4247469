#include "gateway/trace.h"

#define ID_SIZE 16u
#define PARENT_SIZE 8u
#define FLAG_RANDOM 0x02u

/* Lower case only: an upper-case one is invalid by the standard. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool read_hex(const char *text, uint8_t *out, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	uint8_t all = 0;

	for (size_t i = 0; i < size; i++)
		all |= bytes[i];
	return all == 0;
}

bool gw_trace_parse(struct gw_slice text, uint8_t out[GW_TRACE_SIZE])
{
	uint8_t version, trace[GW_TRACE_SIZE];
	const char *t = text.data;

	if (text.size < GW_TRACE_TEXT || t[2] != '-' || t[35] != '-' || t[52] != '-')
		return false;
	if (!read_hex(t, &version, 1) || version == 0xff)
		return false;
	if (text.size > GW_TRACE_TEXT && (version == 0 || t[GW_TRACE_TEXT] != '-'))
		return false;
	if (!read_hex(t + 3, trace, ID_SIZE) || !read_hex(t + 36, trace + ID_SIZE, PARENT_SIZE) ||
	    !read_hex(t + 53, trace + ID_SIZE + PARENT_SIZE, 1))
		return false;
	if (is_zero(trace, ID_SIZE) || is_zero(trace + ID_SIZE, PARENT_SIZE))
		return false;
	memcpy(out, trace, GW_TRACE_SIZE);
	return true;
}

static void put_random(struct base_rand *rand, uint8_t *out, size_t size)
{
	do {
		for (size_t i = 0; i < size; i += 8) {
			uint64_t r = base_rand_next(rand);
			memcpy(out + i, &r, 8);
		}
	} while (is_zero(out, size));
}

void gw_trace_start(struct base_rand *rand, uint8_t out[GW_TRACE_SIZE])
{
	put_random(rand, out, ID_SIZE);
	put_random(rand, out + ID_SIZE, PARENT_SIZE);
	out[ID_SIZE + PARENT_SIZE] = FLAG_RANDOM;
}

void gw_trace_step(struct base_rand *rand, uint8_t trace[GW_TRACE_SIZE])
{
	put_random(rand, trace + ID_SIZE, PARENT_SIZE);
}

static char *print_hex(const uint8_t *bytes, size_t size, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	return out;
}

void gw_trace_print(const uint8_t trace[GW_TRACE_SIZE], char out[GW_TRACE_TEXT + 1])
{
	char *at = out;

	memcpy(at, "00-", 3);
	at = print_hex(trace, ID_SIZE, at + 3);
	*at++ = '-';
	at = print_hex(trace + ID_SIZE, PARENT_SIZE, at);
	*at++ = '-';
	at = print_hex(trace + ID_SIZE + PARENT_SIZE, 1, at);
	*at = '\0';
}
