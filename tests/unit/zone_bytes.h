/* Zones for tests, without a file: a TZif file that has no table, only the rule in its footer. */
#ifndef TESTS_UNIT_ZONE_BYTES_H
#define TESTS_UNIT_ZONE_BYTES_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/zone.h"

#define BERLIN    "CET-1CEST,M3.5.0,M10.5.0/3"
#define NEW_YORK  "EST5EDT,M3.2.0,M11.1.0"
#define LORD_HOWE "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0" /* half an hour of daylight saving */
#define DUBLIN    "IST-1GMT0,M10.5.0,M3.5.0/1"            /* whose winter is the exception */
#define CAIRO     "EET-2EEST,M4.5.5/0,M10.5.4/24"         /* at midnight */

/* One type of offset 0 in each of the two blocks. */
static inline size_t zone_bytes(uint8_t *out, size_t room, const char *rule)
{
	uint8_t block[44 + 6 + 4] = "TZif2";
	int n;

	block[39] = 1; /* types */
	block[43] = 4; /* characters of their names */
	memcpy(block + 44 + 6, "UTC", 4);
	memcpy(out, block, sizeof block);
	memcpy(out + sizeof block, block, sizeof block);
	n = snprintf((char *)out + 2 * sizeof block, room - 2 * sizeof block, "\n%s\n", rule);
	return 2 * sizeof block + (size_t)n;
}

static inline struct base_zone *zone_of(const char *rule)
{
	uint8_t bytes[512];
	size_t size = zone_bytes(bytes, sizeof bytes, rule);
	struct base_zone *zone = NULL;

	return base_zone_new(bytes, size, &zone) ? NULL : zone;
}

#endif
