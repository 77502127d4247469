/* One structured line an event, on stderr: time, level, id, key=value pairs.
 *
 *   2026-11-21T09:15:02.123Z info broker_ready endpoint=tcp://0.0.0.0:7400 boot=01J…
 *   {"time":"…","level":"info","id":"broker_ready","endpoint":"tcp://0.0.0.0:7400"}    (--log json)
 *
 * The id is what tests and dashboards hold on to: lower case, words joined by _,
 * and listed in doc/operations.md. Values are quoted when they hold a space, a
 * quote, an = or a control character; control characters are escaped, so a
 * peer's bytes never forge a line. Thread-safe: a line is one write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

enum base_log_level { BASE_DEBUG, BASE_INFO, BASE_WARN, BASE_ERROR };
enum base_log_format { BASE_LOG_TEXT, BASE_LOG_JSON };

enum base_log_type { BASE_LOG_END, BASE_LOG_STR, BASE_LOG_BYTES, BASE_LOG_I64, BASE_LOG_U64, BASE_LOG_F64 };

struct base_log_field {
	enum base_log_type type;
	const char *key;
	union {
		const char *str; /* NULL is printed as - */
		int64_t i64;
		uint64_t u64;
		double f64;
	} value;
	size_t size; /* BYTES only */
};

#define LOG_STR(k, v) ((struct base_log_field){ BASE_LOG_STR, (k), { .str = (v) }, 0 })
#define LOG_BYTES(k, p, n) ((struct base_log_field){ BASE_LOG_BYTES, (k), { .str = (const char *)(p) }, (n) })
#define LOG_I64(k, v) ((struct base_log_field){ BASE_LOG_I64, (k), { .i64 = (int64_t)(v) }, 0 })
#define LOG_U64(k, v) ((struct base_log_field){ BASE_LOG_U64, (k), { .u64 = (uint64_t)(v) }, 0 })
#define LOG_F64(k, v) ((struct base_log_field){ BASE_LOG_F64, (k), { .f64 = (v) }, 0 })
#define LOG_ERR(e) LOG_STR("error", base_err_text(e))

/* base_log(BASE_INFO, "worker_gone", LOG_STR("peer", name), LOG_U64("calls", n)); */
#define base_log(level, ...) base_log_pick_(level, __VA_ARGS__, ((struct base_log_field){ 0 }))
#define base_log_pick_(level, id, ...) \
	base_log_fields((level), (id), (const struct base_log_field[]){ __VA_ARGS__ })

/* Ends at the first BASE_LOG_END field. Lines below the level set are dropped. */
void base_log_fields(enum base_log_level level, const char *id, const struct base_log_field *fields);

/* Once at start, before threads. fd is 2 unless a test says otherwise. */
void base_log_init(enum base_log_level level, enum base_log_format format, int fd);
enum base_log_level base_log_level(void);
enum base_log_format base_log_format(void);

#endif
