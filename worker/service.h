/* One service that this worker carries: its manifest, its code or endpoint, its credit, the
 * runs that wait here, and its figures. The loop's.
 */
#ifndef WRK_SERVICE_H
#define WRK_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* uthash's standard function falls through cases, which clang warns of. */
#define HASH_FUNCTION     HASH_FNV
#define HASH_NONFATAL_OOM 1 /* an element that was not added has hh.tbl NULL */
#include <uthash.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hist.h"
#include "base/manifest.h"
#include "proto/pirn.pb-c.h"
#include "worker/credit.h"
#include "worker/http.h"
#include "worker/native.h"
#include "worker/run.h"

struct wrk_service {
	UT_hash_handle hh; /* by name, in the catalog */
	char *folder;
	struct base_manifest *manifest;
	struct wrk_native *native;     /* one of these two, once it is loaded */
	struct wrk_endpoint *endpoint;
	struct base_arena arena; /* of wire */
	Pirn__Manifest *wire;    /* as HELLO carries it */

	struct wrk_credit credit;
	uint32_t slots;   /* runs at once: its concurrency, or what the threads leave it */
	uint32_t started; /* runs that the executor has */
	uint32_t overdue; /* those of them that were given up */
	uint64_t stuck_at_us; /* since when all slots are held by such; 0: they are not */
	struct wrk_run *held,
		**held_end; /* beyond the slots, which a correct broker hardly ever sends */
	bool credit_due;    /* credit changed in this turn */
	bool leaving;       /* not announced any more */
	struct wrk_service *next_due;

	uint64_t runs, failures; /* answered; those of them that count as failed */
	uint64_t given_up;
	struct base_hist took;
};

#define WRK_SERVICE_WHY 768

/* Reads and checks folder/service.yaml. why holds one line: FILE:LINE:COLUMN and what was expected. */
BASE_MUSTUSE enum base_err wrk_service_read(
	const char *folder, struct wrk_service **out, char *why, size_t why_room);

/* Loads the code and runs init, or looks at the endpoint's URL; may block. http NULL: no endpoints here. */
BASE_MUSTUSE enum base_err wrk_service_load(struct wrk_service *s, size_t max_response,
	struct wrk_http *http, char *why, size_t why_room);
/* The reserved service that delivers callbacks (worker/http.h), loaded. CONFIG: secret is none. */
BASE_MUSTUSE enum base_err wrk_service_of_callbacks(
	const char *secret, struct wrk_service **out, char *why, size_t why_room);
void wrk_service_free(struct wrk_service **s);

#endif
