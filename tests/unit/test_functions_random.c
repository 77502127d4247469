/* Random operations by brokers that own, lost, adopted or never had what they work on,
 * against a model in C of what Redis should then hold. After each step all of it is
 * read back as one text, and compared: that is I1 (one live copy or one end), I2, I3,
 * I4, I5, I6, I7, I10 and I11 of the delivery protocol, since the model keeps them by
 * its construction. The answer's code is foretold too.
 *
 *   test_functions_random [SEED [STEPS]]
 */
#include "tests/unit/journal_fixture.h"

#include "base/rand.h"
#include "base/ulid.h"

#define MAX_EPOCHS  200
#define MAX_NUMBER  500
#define MAX_ENTRIES 3000
#define BITS        16
#define FIELDS      4

enum life { NOWHERE, LIVE, OVER, LETTER };

struct event {
	enum life life;
	uint32_t attempt;
	bool has_ops, kept, silent; /* silent: its records went, no run may come any more */
	uint64_t run;               /* the highest recorded: attempt and epoch */
	uint32_t fields, applied;
};

struct entry {
	uint32_t journal, epoch;
	uint64_t turn;
	uint32_t n;
	uint64_t events[BITS];
	bool over[BITS], gone;
};

static struct model {
	struct base_rand rand;
	uint32_t n_epochs;
	uint64_t beats[MAX_EPOCHS];  /* 0: it is no owner, or left */
	bool listed[MAX_EPOCHS];     /* stands in owners */
	uint32_t owner[MAX_EPOCHS];  /* of journals; 0: the journal is not there */
	bool adopted[MAX_EPOCHS];
	uint32_t top_epoch[MAX_EPOCHS];
	uint64_t top_turn[MAX_EPOCHS];
	struct event events[MAX_NUMBER];
	struct entry entries[MAX_ENTRIES];
	size_t n_entries;
	uint64_t slot, first_slot;
	size_t done, fenced, other;
} m;

static uint64_t below(uint64_t bound)
{
	return base_rand_below(&m.rand, bound);
}

static bool valid(uint32_t epoch)
{
	return m.listed[epoch] && m.beats[epoch] > 0;
}

static bool may_append(uint32_t epoch, uint32_t journal)
{
	return valid(epoch) && m.owner[journal] == epoch && !m.adopted[journal];
}

/* Mostly one that is an owner, sometimes one that was. */
static uint32_t some_epoch(void)
{
	uint32_t owners[MAX_EPOCHS];
	size_t n = 0;
	for (uint32_t e = 1; e <= m.n_epochs; e++) {
		if (valid(e))
			owners[n++] = e;
	}
	if (n && below(12))
		return owners[below(n)];
	return 1 + (uint32_t)below(m.n_epochs);
}

/* Mostly the one that epoch appends to. */
static uint32_t some_journal(uint32_t epoch)
{
	for (uint32_t j = 1; j <= m.n_epochs; j++) {
		if (m.owner[j] == epoch && !m.adopted[j] && below(20) != 0)
			return j;
	}
	return 1 + (uint32_t)below(m.n_epochs);
}

static void expect(struct got g, enum store_code code)
{
	if (g.code != code)
		fail_msg("said %s, not %s", store_code_name(g.code), store_code_name(code));
	m.done += code == STORE_DONE;
	m.fenced += code == STORE_FENCED;
	m.other += code != STORE_DONE && code != STORE_FENCED;
}

/* ---- what Redis should hold, and what it holds, as text */

static void print_entries(FILE *out, uint32_t journal)
{
	for (size_t i = 0; i < m.n_entries; i++) {
		const struct entry *e = &m.entries[i];
		if (e->journal != journal || e->gone)
			continue;
		fprintf(out, "E %u %u-%llu ", journal, e->epoch, (unsigned long long)e->turn);
		for (uint32_t b = 0; b < e->n; b++)
			fprintf(out, "%010llu", (unsigned long long)e->events[b]);
		uint32_t bits = 0;
		for (uint32_t b = 0; b < e->n; b++)
			bits |= (e->over[b] ? 0x8000u : 0u) >> b;
		if (bits == 0)
			fprintf(out, " -\n");
		else if (e->n > 8)
			fprintf(out, " %04x\n", bits);
		else
			fprintf(out, " %02x\n", bits >> 8);
	}
}

static void print_event(FILE *out, uint64_t number)
{
	const struct event *e = &m.events[number];
	if (e->life != NOWHERE)
		fprintf(out, "L %llu\n", (unsigned long long)number);
	if (e->life == LETTER)
		fprintf(out, "X %llu\n", (unsigned long long)number);
	if (e->applied)
		fprintf(out, "C %llu %u\n", (unsigned long long)number, e->applied);
	if (e->has_ops)
		fprintf(out, "R %llu %016llx %s\n", (unsigned long long)number,
			(unsigned long long)e->run, e->kept ? "kept" : "expires");
}

static char *expected_text(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	for (uint32_t i = 1; i <= m.n_epochs; i++) {
		if (m.listed[i])
			fprintf(out, "O %u %llu\n", i, (unsigned long long)m.beats[i]);
	}
	for (uint32_t i = 1; i <= m.n_epochs; i++) {
		if (m.owner[i])
			fprintf(out, "J %u %u%s\n", i, m.owner[i], m.adopted[i] ? "+" : "");
		print_entries(out, i);
	}
	for (uint64_t i = 0; i < MAX_NUMBER; i++)
		print_event(out, i);
	fprintf(out, "T %llu\n", (unsigned long long)m.slot);
	fclose(out);
	return text;
}

static const char script[] =
	"local P, out = 'pirn:{0}:', {}\n"
	"local call, hex = redis.call, function(s) return (string.gsub(s, '.', function(c) return "
	"string.format('%02x', string.byte(c)) end)) end\n"
	"local max, numbers = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
	"local function say(...) out[#out+1] = table.concat({...}, ' ') .. '\\n' end\n"
	"for e = 1, max do local b = call('HGET', P..'owners', e) if b then say('O', e, b) end end\n"
	"for j = 1, max do\n"
	"  local o = call('HGET', P..'journals', j) if o then say('J', j, o) end\n"
	"  local left = call('HLEN', P..'done:'..j)\n"
	"  for _, e in ipairs(call('XRANGE', P..'journal:'..j, '-', '+')) do\n"
	"    local d = call('HGET', P..'done:'..j, e[1]) if d then left = left - 1 end\n"
	"    say('E', j, e[1], e[2][6], d and d ~= '' and hex(d) or '-')\n"
	"  end\n"
	"  if left ~= 0 then say('done without an entry', j) end\n"
	"end\n"
	"for n = 0, numbers - 1 do\n"
	"  local id = string.format('event%011d', n)\n"
	"  if call('GETBIT', P..'lane:0000000000000007:0', n) == 1 then say('L', n) end\n"
	"  local x = call('HGET', P..'dead:echo', id) if x then say('X', n) end\n"
	"  local c = call('GET', P..'state:echo:c'..n) if c then say('C', n, c) end\n"
	"  local k = P..'ops:'..ARGV[3+n]..':echo'\n"
	"  local r = call('HGET', k, ':run')\n"
	"  if r then say('R', n, hex(r), call('PTTL', k) == -1 and 'kept' or 'expires') end\n"
	"end\n"
	"say('T', string.match(call('HGET', P..'timers', 'tick') or '0', '^%d+'))\n"
	"return table.concat(out)";

struct text {
	bool came;
	char *bytes;
};

static void on_text(void *arg, const struct store_reply *reply)
{
	struct text *t = arg;
	t->came = true;
	t->bytes = strdup(reply->text ? reply->text : "?");
}

static char *actual_text(void)
{
	static char ids[MAX_NUMBER][BASE_ULID_TEXT + 1];
	static struct store_arg words[5 + MAX_NUMBER];
	char max[16], numbers[16];
	size_t n = 0;
	struct text t = { 0 };
	snprintf(max, sizeof max, "%u", m.n_epochs);
	snprintf(numbers, sizeof numbers, "%d", MAX_NUMBER);
	words[n++] = STORE_ARG("EVAL");
	words[n++] = STORE_ARG(script);
	words[n++] = STORE_ARG("0");
	words[n++] = STORE_ARG(max);
	words[n++] = STORE_ARG(numbers);
	for (uint64_t i = 0; i < MAX_NUMBER; i++) {
		base_ulid_print(id_text(i), ids[i]);
		words[n++] = STORE_ARG(ids[i]);
	}
	assert_int_equal(store_redis_command(f.redis, words, n, on_text, &t), BASE_OK);
	WAIT_FOR(&f, t.came);
	return t.bytes;
}

static void compare(void)
{
	char *expected = expected_text(), *actual = actual_text();
	size_t at = 0;
	if (strcmp(expected, actual) != 0) {
		while (expected[at] == actual[at])
			at++;
		while (at > 0 && expected[at - 1] != '\n')
			at--;
		fail_msg("Redis has:\n%.200s\ninstead of:\n%.200s", actual + at, expected + at);
	}
	free(expected);
	free(actual);
}

/* ---- steps: owners */

static void own(uint32_t epoch, uint64_t beats)
{
	m.listed[epoch] = true;
	m.beats[epoch] = beats;
}

static void step_open(void)
{
	if (m.n_epochs + 1 >= MAX_EPOCHS)
		return;
	uint32_t old = m.n_epochs && below(2) ? some_epoch() : 0;
	struct got g = open_epoch(old);
	if (old && !valid(old)) {
		expect(g, STORE_FENCED);
		assert_int_equal(g.number, m.n_epochs);
		return;
	}
	expect(g, STORE_DONE);
	uint32_t epoch = ++m.n_epochs, journal = 0;
	assert_int_equal(g.epoch, epoch);
	own(epoch, old ? m.beats[old] : 1);
	for (uint32_t j = 1; old && j <= m.n_epochs; j++) {
		if (m.owner[j] != old)
			continue;
		m.owner[j] = epoch;
		if (!m.adopted[j])
			journal = j;
	}
	if (!journal) {
		journal = epoch;
		m.owner[epoch] = epoch;
	}
	assert_int_equal(g.journal, journal);
	m.listed[old] = false;
	m.beats[old] = 0;
}

static void step_beat(void)
{
	uint32_t epoch = some_epoch();
	expect(beat(epoch), valid(epoch) ? STORE_DONE : STORE_FENCED);
	if (valid(epoch))
		m.beats[epoch]++;
}

static void step_adopt(void)
{
	uint32_t epoch = some_epoch(), victim = some_epoch();
	uint64_t seen = m.beats[victim] + (below(4) == 0);
	if (epoch == victim)
		return;
	struct got g = adopt(epoch, victim, seen);
	expect(g, valid(epoch) ? STORE_DONE : STORE_FENCED);
	bool took = valid(epoch) && m.listed[victim] && seen == m.beats[victim];
	size_t n = 0;
	for (uint32_t j = 1; took && j <= m.n_epochs; j++) {
		if (m.owner[j] != victim)
			continue;
		m.owner[j] = epoch;
		m.adopted[j] = true;
		n++;
	}
	assert_int_equal(g.n_journals, n);
	if (took) {
		m.listed[victim] = false;
		m.beats[victim] = 0;
	}
}

static void step_leave(void)
{
	uint32_t epoch = some_epoch();
	uint64_t n = 0;
	struct got g = CALL(store_journal_leave, epoch, on_count);
	expect(g, valid(epoch) ? STORE_DONE : STORE_FENCED);
	if (!valid(epoch))
		return;
	for (uint32_t j = 1; j <= m.n_epochs; j++)
		n += m.owner[j] == epoch;
	assert_int_equal(g.n, n);
	m.beats[epoch] = 0;
	m.listed[epoch] = n > 0;
}

static void step_drop(void)
{
	uint32_t epoch = some_epoch(), journal = 1 + (uint32_t)below(m.n_epochs);
	bool empty = true;
	for (int i = 0; i < 20 && !(m.adopted[journal] && m.owner[journal]); i++)
		journal = 1 + (uint32_t)below(m.n_epochs);
	if (m.owner[journal] && below(8))
		epoch = m.owner[journal];
	for (size_t i = 0; i < m.n_entries; i++)
		empty = empty && (m.entries[i].journal != journal || m.entries[i].gone);
	struct got g = CALL(store_journal_drop, epoch, journal, on_count);
	if (!valid(epoch) || m.owner[journal] != epoch || !m.adopted[journal]) {
		expect(g, STORE_FENCED);
		return;
	}
	expect(g, STORE_DONE);
	assert_int_equal(g.n, empty);
	if (empty)
		m.owner[journal] = 0;
}

/* ---- steps: store */

/* A turn of that journal, mostly a new one. */
static uint64_t some_turn(uint32_t journal)
{
	uint64_t top = m.top_turn[journal];
	return top > 1 && below(15) == 0 ? top - below(2) : top + 1 + below(2);
}

static bool is_above(uint32_t journal, uint32_t epoch, uint64_t turn)
{
	return epoch > m.top_epoch[journal] ||
	       (epoch == m.top_epoch[journal] && turn > m.top_turn[journal]);
}

static struct entry *add_entry(uint32_t epoch, uint32_t journal, uint64_t turn)
{
	struct entry *e = &m.entries[m.n_entries++];
	assert_true(m.n_entries < MAX_ENTRIES);
	*e = (struct entry){ .journal = journal, .epoch = epoch, .turn = turn };
	m.top_epoch[journal] = epoch;
	m.top_turn[journal] = turn;
	return e;
}

static void step_store(void)
{
	struct batch b;
	uint32_t epoch = some_epoch(), journal = some_journal(epoch);
	uint64_t turn = some_turn(journal), slot = 0;
	bool fresh[MAX_EVENTS] = { false }, any = false;
	size_t n_duplicates = 0;
	batch_init(&b);
	uint64_t number = below(MAX_NUMBER);
	for (uint64_t n = 1 + below(below(8) ? 4 : 14); n > 0; n--) {
		number = below(4) ? (number + 1) % MAX_NUMBER : below(MAX_NUMBER);
		struct store_item *item = batch_add(&b, number, 1);
		size_t i = b.n - 1;
		fresh[i] = m.events[number].life == NOWHERE;
		for (size_t k = 0; k < i; k++)
			fresh[i] = fresh[i] && memcmp(b.ids[k], b.ids[i], 16) != 0;
		if (slot == 0 && below(6) == 0) { /* one that a timer sends */
			uint64_t previous = below(3) ? m.slot : m.slot + 1;
			item->guard = STORE_GUARD_TIMER;
			item->timer = "tick";
			item->previous_ms = previous;
			item->slot_ms = slot = (m.slot ? m.slot : m.first_slot) + below(3);
			if (fresh[i] && (previous != m.slot || slot <= m.slot))
				fresh[i] = false;
			else if (!fresh[i])
				slot = 0;
			if (!fresh[i])
				slot = 0;
		}
		any = any || fresh[i];
		n_duplicates += !fresh[i];
		if (!fresh[i] && m.events[number].life == NOWHERE && item->guard)
			break; /* its number may be stored later in this call: not foretold here */
	}
	struct got g = store_batch(&b, epoch, journal, turn);
	if (!may_append(epoch, journal)) {
		expect(g, STORE_FENCED);
	} else if (any && !is_above(journal, epoch, turn)) {
		expect(g, STORE_REPEATED);
	} else {
		expect(g, STORE_DONE);
		assert_int_equal(g.entry, any);
		assert_int_equal(g.n, n_duplicates);
		struct entry *e = any ? add_entry(epoch, journal, turn) : NULL;
		for (size_t i = 0; e && i < b.n; i++) {
			e->events[e->n] = b.items[i].number;
			e->over[e->n++] = !fresh[i];
			if (fresh[i]) {
				m.events[b.items[i].number].life = LIVE;
				m.events[b.items[i].number].attempt = 1;
			}
		}
		if (slot)
			m.slot = slot;
	}
	batch_fini(&b);
}

/* ---- steps: settle and redrive */

struct plan {
	struct batch moved;
	struct batch letters[3 * BITS];
	size_t n_letters;
	struct store_end ends[3][BITS];
	struct store_ends list[3];
	struct entry *entries[3];
	size_t n;
};

static void plan_end(struct plan *p, struct store_ends *ends, const struct entry *entry, uint32_t bit)
{
	uint64_t number = entry->events[bit];
	struct event *e = &m.events[number];
	struct store_end *end = &p->ends[ends - p->list][ends->n++];
	*end = (struct store_end){ .bit = bit, .how = STORE_ENDED, .attempt = e->attempt,
		.id = id_text(number), .service = "echo", .fence_ms = UINT64_C(4000000000000) };
	switch (below(4)) {
	case 0:
		if (p->moved.n == BITS)
			break;
		end->how = STORE_MOVED;
		batch_add(&p->moved, number, 1);
		break;
	case 1: {
		struct batch *letter = &p->letters[p->n_letters++];
		batch_init(letter);
		batch_add(letter, number, 1);
		struct store_turn t = batch_turn(letter, 1, 1, 1);
		end->how = STORE_DEAD;
		end->head = t.head;
		end->body = t.body;
		break;
	}
	default:
		end->only_run = e->attempt == 1 && below(3) == 0;
		end->no_records = !e->has_ops && !end->only_run && below(2);
	}
}

static void plan_entry(struct plan *p)
{
	struct entry *entry = NULL;
	for (int i = 0; i < 40; i++) {
		entry = &m.entries[below(m.n_entries)];
		uint32_t owner = m.owner[entry->journal];
		bool with_first = !p->n || below(20) == 0 || owner == m.owner[p->list[0].journal];
		if (!entry->gone && owner && with_first && (valid(owner) || below(20) == 0))
			break;
	}
	for (size_t i = 0; i < p->n; i++) {
		if (p->entries[i] == entry)
			return;
	}
	struct store_ends *ends = &p->list[p->n];
	*ends = (struct store_ends){ .journal = entry->journal, .epoch = entry->epoch,
		.turn = entry->turn, .n_deliveries = entry->n, .ends = p->ends[p->n] };
	for (uint32_t b = 0; b < entry->n; b++) {
		if ((!entry->over[b] && below(2)) || (entry->over[b] && below(40) == 0))
			plan_end(p, ends, entry, b);
	}
	if (ends->n == 0)
		return;
	p->entries[p->n++] = entry;
}

static enum store_code foretell(const struct plan *p, uint32_t epoch, uint32_t journal, uint64_t turn)
{
	if (!may_append(epoch, journal))
		return STORE_FENCED;
	for (size_t i = 0; i < p->n; i++) {
		if (m.owner[p->list[i].journal] != epoch)
			return STORE_FENCED;
		for (size_t j = 0; j < p->list[i].n; j++) {
			if (p->entries[i]->gone || p->entries[i]->over[p->list[i].ends[j].bit])
				return STORE_SETTLED;
		}
	}
	return p->moved.n && !is_above(journal, epoch, turn) ? STORE_REPEATED : STORE_DONE;
}

static void fence(struct event *e, uint32_t attempt)
{
	uint64_t token = (uint64_t)attempt << 32 | 0xffffffff;
	if (!e->has_ops || e->run < token)
		e->run = token;
	e->has_ops = true;
}

static void model_end(const struct store_end *end, uint64_t number)
{
	struct event *e = &m.events[number];
	if (end->how == STORE_MOVED) {
		e->attempt++;
	} else if (end->how == STORE_DEAD) {
		e->life = LETTER;
		fence(e, end->attempt);
		e->kept = true;
	} else if (end->only_run || end->no_records) {
		e->life = OVER;
		e->has_ops = e->kept = false;
		e->silent = true;
	} else {
		e->life = OVER;
		fence(e, end->attempt);
		e->kept = false;
	}
}

static void model_settle(const struct plan *p, uint32_t epoch, uint32_t journal, uint64_t turn)
{
	for (size_t i = 0; i < p->n; i++) {
		struct entry *entry = p->entries[i];
		bool full = true;
		for (size_t j = 0; j < p->list[i].n; j++) {
			const struct store_end *end = &p->list[i].ends[j];
			entry->over[end->bit] = true;
			model_end(end, entry->events[end->bit]);
		}
		for (uint32_t b = 0; b < entry->n; b++)
			full = full && entry->over[b];
		entry->gone = full;
	}
	struct entry *e = p->moved.n ? add_entry(epoch, journal, turn) : NULL;
	for (size_t i = 0; i < p->moved.n; i++)
		e->events[e->n++] = p->moved.items[i].number;
}

static void step_settle(void)
{
	static struct plan p;
	uint32_t epoch = some_epoch(), journal = some_journal(epoch);
	uint64_t turn = some_turn(journal);
	if (m.n_entries == 0)
		return;
	p.n = p.n_letters = 0;
	batch_init(&p.moved);
	plan_entry(&p);
	if (below(2))
		plan_entry(&p);
	/* Mostly by who owns the entry. */
	if (p.n && below(10) && m.owner[p.list[0].journal]) {
		epoch = m.owner[p.list[0].journal];
		journal = some_journal(epoch);
		turn = some_turn(journal);
	}
	if (p.n) {
		struct store_turn t = { .epoch = epoch, .journal = journal, .turn = turn };
		if (p.moved.n)
			t = batch_turn(&p.moved, epoch, journal, turn);
		enum store_code code = foretell(&p, epoch, journal, turn);
		struct got g = CALL(
			store_journal_settle, &t, false, p.list, p.n, &bounds, on_settled);
		expect(g, code);
		if (code == STORE_DONE)
			model_settle(&p, epoch, journal, turn);
	}
	for (size_t i = 0; i < p.n_letters; i++)
		batch_fini(&p.letters[i]);
	batch_fini(&p.moved);
}

static void step_redrive(void)
{
	uint32_t epoch = some_epoch(), journal = some_journal(epoch);
	struct store_turn t = { .epoch = epoch, .journal = journal, .turn = some_turn(journal) };
	uint8_t ids[6][16];
	uint64_t numbers[6], moved[6];
	size_t n = 0, n_moved = 0;
	for (; n < 6; n++) {
		do {
			numbers[n] = below(MAX_NUMBER);
		} while (m.events[numbers[n]].life != LETTER && below(100));
		memcpy(ids[n], id_text(numbers[n]), 16);
		bool twice = false;
		for (size_t k = 0; k < n; k++)
			twice = twice || numbers[k] == numbers[n];
		if (m.events[numbers[n]].life == LETTER && !twice)
			moved[n_moved++] = numbers[n];
	}
	struct got g = CALL(
		store_journal_redrive, &t, "echo", (const uint8_t(*)[16])ids, n, 1 << 20, on_list);
	if (!may_append(epoch, journal)) {
		expect(g, STORE_FENCED);
		return;
	}
	if (n_moved && !is_above(journal, epoch, t.turn)) {
		expect(g, STORE_REPEATED);
		return;
	}
	expect(g, STORE_DONE);
	assert_int_equal(g.n_list, n_moved);
	struct entry *e = n_moved ? add_entry(epoch, journal, t.turn) : NULL;
	for (size_t i = 0; i < n_moved; i++) {
		e->events[e->n++] = moved[i];
		m.events[moved[i]].life = LIVE;
		m.events[moved[i]].attempt++;
	}
}

/* ---- steps: operations, by the current run, by older ones, by those of fenced brokers */

static void step_op(void)
{
	uint64_t number = below(MAX_NUMBER);
	struct event *e = &m.events[number];
	if (e->life == NOWHERE || e->silent)
		return;
	struct store_run run = { .service = "echo",
		.attempt = 1 + (uint32_t)below(e->attempt),
		.epoch = 1 + (uint32_t)below(m.n_epochs),
		.lease_end_ms = UINT64_C(4000000000000),
		.keep_until_ms = UINT64_C(4000000000000) };
	char key[16], field[2] = { (char)('a' + below(FIELDS)) };
	memcpy(run.id, id_text(number), 16);
	snprintf(key, sizeof key, "c%llu", (unsigned long long)number);
	const struct store_op op = { .kind = STORE_COUNTER_ADD, .service = "echo",
		.key = STORE_ARG(key), .number = 1 };
	uint64_t token = (uint64_t)run.attempt << 32 | run.epoch;
	uint32_t bit = 1u << (field[0] - 'a');
	struct got g = CALL(store_run_op, &run, STORE_ARG(field), NULL, 0, &op, on_run);
	if (e->has_ops && token < e->run) {
		expect(g, STORE_SUPERSEDED);
		return;
	}
	assert_true(e->life == LIVE); /* I4 */
	expect(g, STORE_DONE);
	assert_int_equal(g.replayed, (e->fields & bit) != 0);
	if (g.replayed)
		return;
	e->fields |= bit;
	e->applied++;
	e->has_ops = true;
	e->kept = false;
	e->run = token;
	assert_int_equal(g.value_number, e->applied);
}

static void (*const steps[])(void) = { step_store, step_store, step_store, step_settle, step_settle,
	step_settle, step_settle, step_op, step_op, step_op, step_op, step_redrive, step_beat,
	step_adopt, step_open, step_drop, step_drop };

static void go(uint64_t seed, unsigned n)
{
	flush(NULL);
	memset(&m, 0, sizeof m);
	base_rand_init(&m.rand, seed);
	step_open();
	step_open();
	m.first_slot = 1000;
	for (unsigned i = 0; i < n; i++) {
		size_t owners = 0;
		for (uint32_t e = 1; e <= m.n_epochs; e++)
			owners += valid(e);
		if (owners < 3)
			step_open();
		else if (owners > 4 || below(60) == 0)
			step_leave();
		steps[below(sizeof steps / sizeof *steps)]();
		compare();
	}
}

static uint64_t chosen_seed;
static unsigned chosen_steps = 400;

static void random_operations(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		if (chosen_seed && seed > 1)
			break;
		uint64_t use = chosen_seed ? chosen_seed : seed;
		fprintf(stderr, "seed %llu: ", (unsigned long long)use);
		go(use, chosen_steps);
		fprintf(stderr, "%zu done, %zu fenced, %zu otherwise refused, %zu entries\n",
			m.done, m.fenced, m.other, m.n_entries);
		assert_true(chosen_seed || (m.done > 200 && m.fenced > 10 && m.other > 5));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_operations) };
	if (argc > 1)
		chosen_seed = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		chosen_steps = (unsigned)strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests(tests, server_start, server_stop);
}
