/* /v1/breakers: what every broker says of its breakers, and how they are forced. */
#include "gateway_rig.h"

#define HOST "Host: x\r\n"
#define ALL  "GET /v1/breakers HTTP/1.1\r\n" HOST "\r\n"
#define ONE  "GET /v1/breakers/users HTTP/1.1\r\n" HOST "\r\n"
#define MOST 4

/* One broker's answer in the making. */
struct say {
	Pirn__Answer answer;
	Pirn__Breaker breakers[MOST], *list[MOST];
};

static void say_init(struct say *s, const char *broker)
{
	pirn__answer__init(&s->answer);
	s->answer.broker = (char *)(uintptr_t)broker;
	s->answer.breakers = s->list;
}

static Pirn__Breaker *say_breaker(struct say *s, const char *service, uint32_t state)
{
	Pirn__Breaker *b = &s->breakers[s->answer.n_breakers];

	assert_true(s->answer.n_breakers < MOST);
	pirn__breaker__init(b);
	b->service = (char *)(uintptr_t)service;
	b->state = state;
	s->list[s->answer.n_breakers++] = b;
	return b;
}

static void tell(struct say *s)
{
	engine.answer_fn(engine.answer_arg, &s->answer);
}

static void finish(struct client *c)
{
	engine.answer_fn(engine.answer_arg, NULL);
	until(gw.loop, c, response_whole(c, false));
}

static json_t *read_body(const struct client *c)
{
	json_t *root;

	assert_int_equal(response_status(c), 200);
	root = json_loads(response_body(c), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	return root;
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static long long number(const json_t *object, const char *key)
{
	assert_true(json_is_integer(json_object_get(object, key)));
	return json_integer_value(json_object_get(object, key));
}

static json_t *row_of(const json_t *service, size_t i)
{
	return json_array_get(json_object_get(service, "brokers"), i);
}

static struct client post(const char *target, const char *body)
{
	char request[512];

	snprintf(request, sizeof request,
		"POST /v1/breakers/%s HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n%s", target,
		strlen(body), body);
	return ask_on(gw.admin, request);
}

/* ---- reading ----------------------------------------------------------------------- */

static void every_service_has_every_brokers_word(void **state)
{
	struct say one = { 0 }, two = { 0 };
	Pirn__Breaker *open;
	char worker[] = "w\"1", *ejected[] = { worker };
	struct client c = ask_on(gw.admin, ALL);
	json_t *root, *services, *users = NULL, *posts = NULL;

	(void)state;
	assert_int_equal(engine.asked_what, PIRN__QUERY_KIND__BREAKERS);
	assert_string_equal(engine.asked_service, "");
	say_init(&one, "b1");
	say_breaker(&one, "users", PIRN__BREAKER_STATE__CLOSED);
	say_breaker(&one, "posts", PIRN__BREAKER_STATE__HALF_OPEN);
	say_init(&two, "b2");
	open = say_breaker(&two, "users", PIRN__BREAKER_STATE__OPEN);
	open->wait_ms = 4100;
	open->openings = 2;
	open->ok = 3;
	open->failed = 5;
	open->opened_total = 7;
	open->refused_total = UINT64_C(5000000000);
	open->n_ejected = 1;
	open->ejected = ejected;
	say_breaker(&two, "posts", PIRN__BREAKER_STATE__CLOSED);
	say_breaker(&two, "nobody-knows-it", PIRN__BREAKER_STATE__OPEN);
	say_breaker(&two, "users", PIRN__BREAKER_STATE__CLOSED); /* twice: the first one counts */
	tell(&one);
	tell(&two);
	finish(&c);
	root = read_body(&c);
	assert_int_equal(number(root, "asked"), 2);
	assert_int_equal(number(root, "answered"), 2);
	services = json_object_get(root, "services");
	assert_int_equal(json_array_size(services), sizeof usual / sizeof *usual);
	for (size_t i = 0; i < json_array_size(services); i++) {
		json_t *s = json_array_get(services, i);
		if (strcmp(text(s, "service"), "users") == 0)
			users = s;
		else if (strcmp(text(s, "service"), "posts") == 0)
			posts = s;
		else /* nobody spoke of it */
			assert_true(json_is_null(json_object_get(s, "state")) &&
				    json_array_size(json_object_get(s, "brokers")) == 0);
	}
	assert_string_equal(text(users, "state"), "open");
	assert_string_equal(text(users, "force"), "auto");
	assert_string_equal(text(posts, "state"), "half-open");
	assert_int_equal(json_array_size(json_object_get(users, "brokers")), 2);
	assert_string_equal(text(row_of(users, 0), "broker"), "b1");
	assert_string_equal(text(row_of(users, 0), "state"), "closed");
	assert_string_equal(text(row_of(users, 1), "state"), "open");
	assert_int_equal(number(row_of(users, 1), "wait_ms"), 4100);
	assert_int_equal(number(row_of(users, 1), "openings"), 2);
	assert_int_equal(number(row_of(users, 1), "ok"), 3);
	assert_int_equal(number(row_of(users, 1), "failed"), 5);
	assert_int_equal(number(row_of(users, 1), "opened_total"), 7);
	assert_true(number(row_of(users, 1), "refused_total") == 5000000000);
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(row_of(users, 1), "ejected"), 0)),
		worker);
	json_decref(root);
	client_close(&c);
}

static void one_service_is_asked_for_alone(void **state)
{
	struct say one = { 0 };
	struct client c;
	json_t *root;

	(void)state;
	engine.n_brokers = 3;
	c = ask_on(gw.admin, ONE);
	assert_int_equal(engine.asked_what, PIRN__QUERY_KIND__BREAKERS);
	assert_string_equal(engine.asked_service, "users");
	say_init(&one, NULL);
	say_breaker(&one, "posts", PIRN__BREAKER_STATE__OPEN); /* was not asked for */
	say_breaker(&one, "users", PIRN__BREAKER_STATE__CLOSED)->force =
		PIRN__BREAKER_FORCE__FORCED_CLOSED;
	tell(&one);
	finish(&c);
	root = read_body(&c);
	assert_int_equal(number(root, "asked"), 3);
	assert_int_equal(number(root, "answered"), 1);
	assert_string_equal(text(root, "service"), "users");
	assert_string_equal(text(root, "state"), "closed");
	assert_string_equal(text(root, "force"), "closed");
	assert_true(json_is_null(json_object_get(row_of(root, 0), "broker")));
	json_decref(root);
	client_close(&c);
}

static void a_forced_one_is_as_it_is_forced(void **state)
{
	struct say one = { 0 };
	struct client c = ask_on(gw.admin, ALL);
	json_t *root, *s;
	size_t i;

	(void)state;
	say_init(&one, "b1");
	say_breaker(&one, "users", PIRN__BREAKER_STATE__CLOSED)->force =
		PIRN__BREAKER_FORCE__FORCED_OPEN;
	say_breaker(&one, "posts", PIRN__BREAKER_STATE__OPEN)->force =
		PIRN__BREAKER_FORCE__FORCED_CLOSED;
	tell(&one);
	finish(&c);
	root = read_body(&c);
	json_array_foreach(json_object_get(root, "services"), i, s)
	{
		const char *wanted = strcmp(text(s, "service"), "users") == 0   ? "open"
				     : strcmp(text(s, "service"), "posts") == 0 ? "closed"
										: NULL;
		if (!wanted)
			continue;
		assert_string_equal(text(s, "state"), wanted);
		assert_string_equal(text(row_of(s, 0), "state"), wanted);
		assert_string_equal(text(s, "force"), wanted);
	}
	json_decref(root);
	client_close(&c);
}

static void a_state_of_tomorrow_is_null(void **state)
{
	struct say one = { 0 };
	struct client c = ask_on(gw.admin, ONE);
	json_t *root;

	(void)state;
	say_init(&one, "b1");
	say_breaker(&one, "users", 77)->force = 78;
	tell(&one);
	finish(&c);
	root = read_body(&c);
	assert_true(json_is_null(json_object_get(root, "state")));
	assert_true(json_is_null(json_object_get(row_of(root, 0), "force")));
	json_decref(root);
	client_close(&c);
}

static void no_broker_is_503(void **state)
{
	struct say old = { 0 };
	struct client c = ask_on(gw.admin, ALL);

	(void)state;
	finish(&c);
	expect_problem(&c, 503);
	expect_retry_after(&c, "1");
	client_close(&c);
	c = ask_on(gw.admin, ONE); /* one that does not know the question has not answered it */
	say_init(&old, "b1");
	old.answer.has_reason = true;
	old.answer.reason = PIRN__REASON__UNSUPPORTED;
	tell(&old);
	finish(&c);
	expect_problem(&c, 503);
	client_close(&c);
	engine.next = BASE_FULL;
	c = ask_on(gw.admin, ALL);
	expect_problem(&c, 503);
	client_close(&c);
}

static void an_unknown_service_is_404(void **state)
{
	struct client c = ask_on(gw.admin, "GET /v1/breakers/nobody HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	expect_problem(&c, 404);
	client_close(&c);
	c = post("nobody", "{\"force\":\"open\"}");
	expect_problem(&c, 404);
	client_close(&c);
	c = post("users%2Fx", "{\"force\":\"open\"}");
	expect_problem(&c, 404);
	client_close(&c);
	gw.informed = false; /* nobody has said yet what there is */
	c = post("nobody", "{\"force\":\"open\"}");
	expect_problem(&c, 503);
	assert_null(engine.answer_fn);
	client_close(&c);
}

/* ---- forcing ------------------------------------------------------------------------ */

static void breakers_are_forced_everywhere(void **state)
{
	static const struct {
		const char *word;
		uint32_t force;
	} words[] = { { "open", PIRN__BREAKER_FORCE__FORCED_OPEN },
		{ "closed", PIRN__BREAKER_FORCE__FORCED_CLOSED },
		{ "auto", PIRN__BREAKER_FORCE__AUTO } };

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		struct say one = { 0 };
		char body[64];
		struct client c;
		json_t *root;

		snprintf(body, sizeof body, " {\"force\" : \"%s\"}\n", words[i].word);
		c = post("users", body);
		assert_int_equal(engine.asked_what, PIRN__QUERY_KIND__BREAKER_SET);
		assert_int_equal(engine.asked_force, words[i].force);
		assert_string_equal(engine.asked_service, "users");
		say_init(&one, "b1");
		say_breaker(&one, "users", PIRN__BREAKER_STATE__CLOSED)->force = words[i].force;
		tell(&one);
		finish(&c);
		root = read_body(&c);
		assert_string_equal(text(root, "force"), words[i].word);
		json_decref(root);
		client_close(&c);
	}
}

static void what_is_no_order_is_400(void **state)
{
	static const char *const bodies[] = { "", "{}", "[]", "null", "open", "\"open\"",
		"{\"force\":\"shut\"}", "{\"force\":\"\"}", "{\"force\":1}", "{\"force\":null}",
		"{\"force\":\"open\",\"service\":\"users\"}",
		"{\"force\":\"open\",\"force\":\"auto\"}", "{\"force\":\"open\"",
		"{\"force\":\"open\"}x" };

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		struct client c = post("users", bodies[i]);
		expect_problem(&c, 400);
		assert_null(engine.answer_fn);
		client_close(&c);
	}
}

static void other_methods_are_405(void **state)
{
	struct client c = ask_on(gw.admin, "DELETE /v1/breakers/users HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	expect_problem(&c, 405);
	client_close(&c);
	c = ask_on(gw.users, ONE); /* users see nothing of it */
	expect_problem(&c, 404);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_service_has_every_brokers_word),
		TEST(one_service_is_asked_for_alone),
		TEST(a_forced_one_is_as_it_is_forced),
		TEST(a_state_of_tomorrow_is_null),
		TEST(no_broker_is_503),
		TEST(an_unknown_service_is_404),
		TEST(breakers_are_forced_everywhere),
		TEST(what_is_no_order_is_400),
		TEST(other_methods_are_405),
	};

	return cmocka_run_group_tests_name("gateway: breakers", tests, NULL, NULL);
}
