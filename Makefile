# Pirn's one Makefile. `make help` says what it can do.
#
# Folders are floors (see doc/architecture.md): each is one archive, and a program links those it
# stands on. New .c files, tests, benches and services are found by themselves.
#
# Everything that is built goes under $(BUILD)/$(MODE); generated code under $(BUILD)/gen. Another
# BUILD gives a second tree that does not disturb the first: make BUILD=/tmp/pirn.

MODE    ?= release
BUILD   ?= build
PREFIX  ?= /usr/local
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
VERSION := $(shell sed -n 's/^.define PIRN_VERSION "\(.*\)"/\1/p' base/version.h)
SONAME  := libpirn.so.$(firstword $(subst ., ,$(VERSION)))

ifeq ($(origin CC),default)
CC := gcc
endif
AR         ?= ar
OBJCOPY    ?= objcopy
PKG_CONFIG ?= pkg-config
PROTOC_C   ?= protoc-c
INSTALL    ?= install

B   := $(BUILD)/$(MODE)
GEN := $(BUILD)/gen

# The recipes below start further makes for "install what is missing, then build": make reads the
# libraries' flags when it starts, and they are not there before.
parallel = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

Q := $(if $(V),,@)
ifeq ($(V),)
say = @printf '  %-5s %s\n' $(1) $(2)
endif

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
.DEFAULT_GOAL := all

# ---- Flags: ours first, then the mode's, then the user's, which win.

is_clang := $(findstring clang,$(shell $(CC) --version 2>/dev/null))

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wvla -Wundef -Wformat=2 -Wpointer-arith -Wwrite-strings \
	-Wdouble-promotion -Werror=implicit-function-declaration \
	-Werror=int-conversion -Werror=incompatible-pointer-types \
	$(if $(is_clang),,-Wduplicated-cond -Wlogical-op) $(if $(filter 1,$(WERROR)),-Werror)

sanitize := -fno-omit-frame-pointer -fno-sanitize-recover=all
MODE_CFLAGS_release := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
MODE_CFLAGS_dev     := -Og -g3
MODE_CFLAGS_asan    := -O1 -g -fsanitize=address,undefined $(sanitize)
MODE_CFLAGS_tsan    := -O1 -g -fsanitize=thread $(sanitize)
MODE_CFLAGS_cov     := -O0 -g --coverage
MODE_CFLAGS_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined $(sanitize)
MODE_LDFLAGS_asan   := -fsanitize=address,undefined
MODE_LDFLAGS_tsan   := -fsanitize=thread
MODE_LDFLAGS_cov    := --coverage
MODE_LDFLAGS_fuzz   := -fsanitize=address,undefined
ifeq ($(origin MODE_CFLAGS_$(MODE)),undefined)
$(error MODE=$(MODE) is none of release, dev, asan, tsan, cov)
endif

pkg_cflags = $(shell $(PKG_CONFIG) --cflags $(1) 2>/dev/null)
pkg_libs   = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null)

PKGS := libzmq libprotobuf-c hiredis libuv yaml-0.1 jansson libcurl libsodium
# As -isystem, because our warnings are about our code.
space := $(subst ,, )
LIB_CFLAGS := $(patsubst -I%,-isystem %,$(filter-out -I/usr/include -I/usr/include/%-gnu, \
	$(subst -isystem$(space),-I,$(call pkg_cflags,$(PKGS)))))
LIBS := $(call pkg_libs,$(PKGS)) -lm -ldl -pthread
CORE_LIBS    := $(call pkg_libs,libprotobuf-c) -lm -pthread
CLIENT_PKGS  := libzmq libprotobuf-c libuv libsodium
CLIENT_LIBS  := $(call pkg_libs,$(CLIENT_PKGS)) -lm -pthread
SERVICE_LIBS := $(call pkg_libs,jansson) -lm
TEST_LIBS    := $(or $(call pkg_libs,cmocka),-lcmocka)
PEER_LIBS    := $(call pkg_libs,gearmand libmicrohttpd libnats)

# -fPIC for all, so that programs, libpirn.so and the tests share their objects.
COMMON_CFLAGS := -std=c17 -D_GNU_SOURCE -fPIC -fno-common \
	-fno-semantic-interposition
ALL_CFLAGS  = $(COMMON_CFLAGS) -I. -Iinclude -isystem $(GEN) $(LIB_CFLAGS) $(WARNINGS) \
	$(MODE_CFLAGS_$(MODE)) $(CPPFLAGS) $(CFLAGS)
# A service sees the public headers, nothing else.
SERVICE_CFLAGS = $(COMMON_CFLAGS) -Iinclude $(WARNINGS) $(MODE_CFLAGS_$(MODE)) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = -Wl,--as-needed -Wl,-z,relro -Wl,-z,now $(MODE_LDFLAGS_$(MODE)) $(LDFLAGS)

# ---- What there is.

floor_sources = $(filter-out %/main.c,$(wildcard $(1)/*.c))
objects       = $(patsubst %.c,$(B)/obj/%.o,$(1))

FLOORS := base net store client core broker worker gateway cli
SRC_base    := $(call floor_sources,base)
SRC_net     := $(call floor_sources,net)
SRC_store   := $(call floor_sources,store)
SRC_client  := $(call floor_sources,client)
SRC_core    := $(call floor_sources,broker/core)
SRC_broker  := $(call floor_sources,broker)
SRC_worker  := $(call floor_sources,worker)
SRC_gateway := $(call floor_sources,gateway) $(call floor_sources,gateway/api)
SRC_cli     := $(call floor_sources,cli)

GEN_SOURCES := $(GEN)/proto/pirn.pb-c.c $(patsubst store/%.lua,$(GEN)/store/%_lua.c,$(wildcard store/*.lua))
GEN_HEADERS := $(GEN_SOURCES:.c=.h)
OBJ_gen     := $(patsubst $(GEN)/%.c,$(B)/obj/gen/%.o,$(GEN_SOURCES))
OBJ_proto   := $(B)/obj/gen/proto/pirn.pb-c.o

archive = $(B)/obj/$(1).a
$(foreach floor,$(FLOORS),$(eval OBJ_$(floor) := $(call objects,$(SRC_$(floor)))))

# A program has a main.c in its folder.
PROGRAMS := $(foreach p,cli:pirn gateway:pirn-gateway broker:pirn-broker worker:pirn-worker, \
	$(if $(wildcard $(firstword $(subst :, ,$(p)))/main.c),$(B)/bin/$(lastword $(subst :, ,$(p)))))

SERVICES := $(patsubst services/%/service.yaml,%,$(wildcard services/*/service.yaml))
NATIVE_SERVICES := $(foreach s,$(SERVICES),$(if $(wildcard services/$(s)/*.c),$(s)))
SERVICE_FILES := $(SERVICES:%=$(B)/services/%/service.yaml) \
	$(foreach s,$(NATIVE_SERVICES),$(B)/services/$(s)/$(s).so)

LIBRARY := $(if $(SRC_client),$(addprefix $(B)/lib/,libpirn.a libpirn.so pirn.pc))

UNIT_TESTS        := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c tests/oom/test_*.c))
INTEGRATION_TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/integration/test_*.c))
SIMULATION        := $(if $(wildcard tests/sim/*.c),$(B)/tests/sim)
FAULT_TESTS       := $(patsubst %.c,$(B)/%,$(wildcard tests/fault/test_*.c))
FAULT_SHIMS       := $(patsubst tests/fault/preload/%.c,$(B)/tests/fault/%.so,$(wildcard tests/fault/preload/*.c))
FUZZ_TARGETS      := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
TEST_PROGRAMS     := $(UNIT_TESTS) $(SIMULATION) $(if $(wildcard tests/fuzz/replay.c),$(FUZZ_TARGETS)) $(INTEGRATION_TESTS)
BENCHES           := $(patsubst %.c,$(B)/%,$(wildcard bench/*.c))

# ---- Targets that people type.

.PHONY: all run test check-build test-programs fault-programs test-sim test-fault test-compose bench bench-programs lint fuzz fuzz-programs install clean deps help generated
.PHONY: FORCE

all: $(PROGRAMS) $(SERVICE_FILES) $(LIBRARY)	## Build everything (release; MODE=dev, asan, tsan, cov for others)
	@:

run:	## Install what is missing, build, and run Pirn in the foreground (ARGS="--http 127.0.0.1:9090 ...")
	@tools/setup run
	@+$(MAKE) --no-print-directory $(parallel) MODE=release all
	@exec $(BUILD)/release/bin/pirn up $(ARGS)

test:	## Install what is missing, build, run every test (TESTS='unit/* sim' chooses; TEST_TIMEOUT=900)
	@tools/setup test
	@+if $(MAKE) --no-print-directory $(parallel) -k all test-programs; then built=; else built=--build-failed; fi; \
	exec tests/run $$built $(B) $(TEST_PROGRAMS:$(B)/%=%)

test-sim:	## Run the simulation of the broker's core (ARGS="--seed 42 ...")
	@tools/setup test
	@+$(MAKE) --no-print-directory $(parallel) $(B)/tests/sim
	@exec $(B)/tests/sim $(ARGS)

test-fault:	## Kill, pause, cut and fill things under load, and count what is lost (ROUNDS=2 TESTS=pattern)
	@tools/setup test
	@+$(MAKE) --no-print-directory $(parallel) all fault-programs
	@exec tests/fault/run $(B) $(FAULT_TESTS:$(B)/%=%)

test-compose:	## Run a real `docker compose up`, scale it, feed it, tear it down
	@tools/setup compose
	@exec tests/compose/run

bench:	## Measure Pirn beside its peers (installs them)
	@tools/setup bench
	@+$(MAKE) --no-print-directory $(parallel) MODE=release all bench-programs
	@exec bench/run --build $(BUILD)/release $(ARGS)

lint:	## Check formatting, floors, headers, the documentation, and run cppcheck
	@tools/setup lint
	@+$(MAKE) --no-print-directory $(parallel) generated $(PROGRAMS)
	@CC="$(CC)" CFLAGS="$(filter-out -Werror,$(ALL_CFLAGS))" GEN="$(GEN)" BIN="$(B)/bin" tools/lint

fuzz:	## Run each fuzz target (FUZZ_SECONDS=30, TESTS=pattern)
	@tools/setup fuzz
	@+$(MAKE) --no-print-directory $(parallel) MODE=fuzz CC=clang fuzz-programs
	@exec tools/fuzz $(BUILD)/fuzz

deps:	## Install what building, running and testing need (SETS="bench lint fuzz compose" for others)
	@tools/setup $(or $(SETS),test)

clean:	## Remove everything that was built
	rm -rf $(BUILD)

help:	## This
	@printf 'make TARGET [MODE=release|dev|asan|tsan|cov] [CC=clang] [CFLAGS=...] [V=1] [WERROR=1] [BUILD=dir]\n\n'
	@sed -n 's/^\([a-z-]*\):.*	## \(.*\)/\1\t\2/p' Makefile | while IFS='	' read -r target text; do \
		printf '  %-14s %s\n' "$$target" "$$text"; done

test-programs: $(TEST_PROGRAMS)
fault-programs: $(FAULT_TESTS) $(FAULT_SHIMS)
bench-programs: $(BENCHES)
fuzz-programs: $(FUZZ_TARGETS)
generated: $(GEN_HEADERS)
test-programs fault-programs bench-programs fuzz-programs generated:
	@:

# ---- Compiling.

# Rewritten only when the flags change: then everything is built anew.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS))' | cmp -s - $@ || { \
	for tool in $(firstword $(CC)) $(PKG_CONFIG) $(PROTOC_C); do command -v $$tool >/dev/null || { \
		echo "make: $$tool is missing. 'make deps' installs what building needs." >&2; exit 1; }; done; \
	$(PKG_CONFIG) --print-errors --exists $(PKGS) || { \
		echo "make: libraries are missing. 'make deps' installs what building needs." >&2; exit 1; }; \
	printf '%s\n' '$(subst ','\'',$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS))' >$@; }

# -MD rather than -MMD: the generated heads come by -isystem, and a change of theirs counts.
$(B)/obj/%.o: %.c $(B)/flags | $(GEN_HEADERS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MD -MP -c -o $@ $<

$(B)/obj/gen/%.o: $(GEN)/%.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -w -MD -MP -c -o $@ $<

$(B)/obj/services/%.o: services/%.c $(B)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SERVICE_CFLAGS) -MD -MP -c -o $@ $<

$(GEN)/proto/%.pb-c.c $(GEN)/proto/%.pb-c.h &: proto/%.proto
	$(call say,GEN,$<)
	@mkdir -p $(@D)
	$(Q)out=$$($(PROTOC_C) -Iproto --c_out=$(GEN)/proto $< 2>&1) || { echo "$$out" >&2; exit 1; }

# store/functions.lua becomes `const char store_functions_lua[]`, ended by a NUL that
# store_functions_lua_size does not count; #include "store/functions_lua.h".
$(GEN)/store/%_lua.c: store/%.lua
	$(call say,GEN,$<)
	@mkdir -p $(@D)
	$(Q){ printf '#include "store/$*_lua.h"\nconst char store_$*_lua[] = {\n'; \
	od -An -v -td1 $< | sed 's/ *\(-\{0,1\}[0-9]\{1,\}\)/\1,/g'; \
	printf '0};\nconst size_t store_$*_lua_size = sizeof store_$*_lua - 1;\n'; } >$@

$(GEN)/store/%_lua.h: store/%.lua
	@mkdir -p $(@D)
	$(Q)printf '#pragma once\n#include <stddef.h>\nextern const char store_$*_lua[];\nextern const size_t store_$*_lua_size;\n' >$@

# ---- Linking.

define floor_archive
$(call archive,$(1)): $$(OBJ_$(1)) $(B)/obj/$(1).list
	@rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$(OBJ_$(1))
$(B)/obj/$(1).list: FORCE
	@mkdir -p $$(@D)
	@echo '$$(OBJ_$(1))' | cmp -s - $$@ || echo '$$(OBJ_$(1))' >$$@
endef
$(foreach floor,$(FLOORS) gen proto,$(eval $(call floor_archive,$(floor))))

archives = $(foreach floor,$(1),$(call archive,$(floor)))
link = $(CC) $(ALL_CFLAGS) $(if $(filter release,$(MODE)),-pie) $(ALL_LDFLAGS)
group = -Wl,--start-group $(filter %.a,$^) -Wl,--end-group

STORES := store net base gen
$(B)/bin/pirn-broker: $(B)/obj/broker/main.o $(call archives,broker core $(STORES))
$(B)/bin/pirn-worker: $(B)/obj/worker/main.o $(OBJ_worker) $(call archives,$(STORES)) tools/service.abi
$(B)/bin/pirn-gateway: $(B)/obj/gateway/main.o $(call archives,gateway client $(STORES))
$(B)/bin/pirn: $(B)/obj/cli/main.o $(call archives,cli client worker $(STORES))

# The worker gives its services the functions of include/pirn/service.h, and nothing else.
$(B)/bin/pirn-worker: LINK_EXTRA = -Wl,--dynamic-list=tools/service.abi

$(B)/bin/%:
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link) -o $@ $(filter %.o,$^) $(group) $(LINK_EXTRA) $(LIBS)

define service_rules
$(B)/services/$(1)/$(1).so: $(patsubst services/%.c,$(B)/obj/services/%.o,$(wildcard services/$(1)/*.c))
	$$(call say,LINK,$$@)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(SERVICE_CFLAGS) -shared $$(ALL_LDFLAGS) -o $$@.part $$^ $$(SERVICE_LIBS)
	@mv $$@.part $$@
endef
$(foreach service,$(NATIVE_SERVICES),$(eval $(call service_rules,$(service))))

# The manifest last: a worker that watches the folder sees a whole service.
$(B)/services/%/service.yaml: services/%/service.yaml
	@mkdir -p $(@D)
	$(Q)cp $< $@.part && mv $@.part $@
$(foreach s,$(NATIVE_SERVICES),$(eval $(B)/services/$(s)/service.yaml: | $(B)/services/$(s)/$(s).so))

# The client library: one object whose only global names are those of include/pirn/client.h.
LIBRARY_OBJECTS := $(OBJ_client) $(OBJ_net) $(OBJ_base) $(OBJ_proto)

$(B)/lib/libpirn.so.$(VERSION): $(LIBRARY_OBJECTS) tools/libpirn.map
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -shared $(ALL_LDFLAGS) -Wl,-soname,$(SONAME) \
		-Wl,--version-script=tools/libpirn.map -o $@ $(filter %.o,$^) $(CLIENT_LIBS)

$(B)/lib/libpirn.so: $(B)/lib/libpirn.so.$(VERSION)
	$(Q)ln -sf $(<F) $(@D)/$(SONAME) && ln -sf $(SONAME) $@

$(B)/lib/libpirn.a: $(LIBRARY_OBJECTS)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(CC) -r -nostdlib -o $(B)/obj/libpirn.o $(filter %.o,$^)
	$(Q)$(OBJCOPY) --wildcard --keep-global-symbol='pirn_[a-z]*' $(B)/obj/libpirn.o
	$(Q)$(AR) rcs $@ $(B)/obj/libpirn.o

# Its prefix is where the file lies, so that the tree can be moved; `make install` writes it anew.
# No Requires.private: with it a program that takes libpirn.so would need the other libraries'
# development packages, and --static what Debian's libzmq.pc lists and does not have.
pc = printf '%s\n' 'prefix=$(1)' 'includedir=$${prefix}/include' 'libdir=$${prefix}/lib' \
	'servicesdir=$${prefix}/share/pirn/services' '' 'Name: pirn' \
	'Description: Send calls and events to Pirn, and write services for it' 'Version: $(VERSION)' \
	'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lpirn' 'Libs.private: $(strip $(CLIENT_LIBS))'
$(B)/lib/pirn.pc: Makefile
	@mkdir -p $(@D)
	$(Q)$(call pc,$(PREFIX)) >$@

# ---- Tests and benches.

OBJ_harness := $(call objects,$(wildcard tests/harness/*.c))
$(eval $(call floor_archive,harness))
ALL_ARCHIVES := $(call archives,harness gateway broker worker cli client core $(STORES))

$(UNIT_TESTS) $(INTEGRATION_TESTS): $(B)/tests/%: $(B)/obj/tests/%.o $(ALL_ARCHIVES)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link) -o $@ $< $(group) $(TEST_LIBS) $(LIBS)

OBJ_fault := $(call objects,$(filter-out tests/fault/test_%,$(wildcard tests/fault/*.c)))
$(eval $(call floor_archive,fault))
$(FAULT_TESTS): $(B)/tests/%: $(B)/obj/tests/%.o $(call archives,fault) $(ALL_ARCHIVES)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link) -o $@ $< $(group) $(TEST_LIBS) $(LIBS)

# Preloaded into redis-server, which has no sanitizer in it.
$(FAULT_SHIMS): $(B)/tests/fault/%.so: tests/fault/preload/%.c
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(COMMON_CFLAGS) $(WARNINGS) -O2 -shared -o $@ $< -ldl -pthread

# The simulation's Redis is apart: a unit test holds it against the real one.
OBJ_simredis := $(call objects,$(wildcard tests/sim/redis/*.c))
$(eval $(call floor_archive,simredis))
$(B)/tests/unit/test_sim_redis: $(call archives,simredis)

# Only the core and what it may stand on: the linker proves that the core does no I/O of ours.
# And two pure parts of others: its clients run timers as gateways do.
$(B)/tests/sim: $(call objects,$(wildcard tests/sim/*.c) gateway/plan.c client/clock.c) $(call archives,simredis core base proto)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link) -o $@ $(filter %.o,$^) $(group) $(TEST_LIBS) $(CORE_LIBS)

# Under libFuzzer in `make fuzz`; everywhere else the driver replays the corpus.
fuzz_driver := $(if $(filter fuzz,$(MODE)),,$(B)/obj/tests/fuzz/replay.o)
$(FUZZ_TARGETS): $(B)/tests/fuzz/%: $(B)/obj/tests/fuzz/%.o $(fuzz_driver) $(ALL_ARCHIVES)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link) $(if $(fuzz_driver),,-fsanitize=fuzzer) -o $@ $(filter %.o,$^) $(group) $(TEST_LIBS) $(LIBS)

$(BENCHES): $(B)/bench/%: $(B)/obj/bench/%.o $(call archives,harness gateway broker worker cli client core $(STORES))
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link) -o $@ $< $(group) $(LIBS) $(PEER_LIBS)

# ---- Installing. DESTDIR for packagers; STRIP=1 leaves the symbols behind.

D := $(DESTDIR)$(PREFIX)
install: all	## Install programs, headers, libraries and examples (PREFIX=/usr/local DESTDIR= STRIP=1)
	$(INSTALL) -d $(D)/bin $(D)/include/pirn $(D)/lib/pkgconfig $(D)/share/pirn/services $(D)/share/pirn/examples
	$(INSTALL) $(if $(STRIP),-s) -m 755 $(PROGRAMS) $(D)/bin
	$(INSTALL) -m 644 include/pirn/*.h $(D)/include/pirn
	$(INSTALL) -m 644 $(B)/lib/libpirn.a $(D)/lib
	$(INSTALL) $(if $(STRIP),-s) -m 755 $(B)/lib/libpirn.so.$(VERSION) $(D)/lib
	ln -sf libpirn.so.$(VERSION) $(D)/lib/$(SONAME)
	ln -sf $(SONAME) $(D)/lib/libpirn.so
	@$(call pc,$(PREFIX)) >$(D)/lib/pkgconfig/pirn.pc && chmod 644 $(D)/lib/pkgconfig/pirn.pc
	@for service in $(SERVICES); do \
		$(INSTALL) -d $(D)/share/pirn/services/$$service $(D)/share/pirn/examples/$$service && \
		if [ -e $(B)/services/$$service/$$service.so ]; then \
			$(INSTALL) $(if $(STRIP),-s) -m 755 $(B)/services/$$service/$$service.so $(D)/share/pirn/services/$$service; fi && \
		$(INSTALL) -m 644 services/$$service/service.yaml $(D)/share/pirn/services/$$service && \
		for file in services/$$service/*; do \
			[ ! -f $$file ] || $(INSTALL) -m 644 $$file $(D)/share/pirn/examples/$$service || exit; done || exit; done

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
