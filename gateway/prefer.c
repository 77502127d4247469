#include "gateway/prefer.h"

/* How far it is to the next stop of these outside quotes, or to the end. */
static size_t span(struct gw_slice s, char stop, char other_stop)
{
	bool quoted = false;

	for (size_t i = 0; i < s.size; i++) {
		if (quoted && s.data[i] == '\\')
			i++;
		else if (s.data[i] == '"')
			quoted = !quoted;
		else if (!quoted && (s.data[i] == stop || s.data[i] == other_stop))
			return i;
	}
	return s.size;
}

/* respond-async, with parameters perhaps; an empty value is as good as none. */
static bool is_async(struct gw_slice preference)
{
	struct gw_slice name = { preference.data, span(preference, ';', ';') };
	size_t equals = span(name, '=', '=');
	struct gw_slice value = { name.data + equals, name.size - equals };

	name.size = equals;
	if (value.size) {
		value = gw_slice_trim((struct gw_slice){ value.data + 1, value.size - 1 });
		if (value.size && !gw_slice_equal(value, GW_SLICE("\"\"")))
			return false;
	}
	return gw_slice_like(gw_slice_trim(name), GW_SLICE("respond-async"));
}

bool gw_prefer_async(struct gw_slice value)
{
	while (value.size) {
		size_t size = span(value, ',', ',');

		if (is_async((struct gw_slice){ value.data, size }))
			return true;
		size += size < value.size;
		value = (struct gw_slice){ value.data + size, value.size - size };
	}
	return false;
}
