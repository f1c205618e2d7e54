# SPDX-License-Identifier: GPL-3.0-or-later
#
# One makefile, no recursion into folders.  Sources are picked up from the
# tree: a new file needs no line here.
#
#   make                          plain build: build/bin/<tool>, build/libcfs.*
#   make SAN=address,undefined    the same in build/san-address-undefined/
#   make SAN=thread, COV=1, CC=clang
#   make check                    everything; the last line counts
#   make check-unit check-bats check-crash check-sim check-real check-fuzz
#   make check-mount check-torture
#   make check-model check-mutants check-package
#   make sim [SEEDS=n FIRST=n VERBOSE=1 ONLY=name], mutants [MUTANT=name]
#   make check-long
#   ... ONLY=text                 only the files with text in their name
#   make lint, coverage, bench [CASE=...], demo, fuzz, install, clean
#
# Sub-makes only build other variants of the same tree.

VERSION := 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=

# ---------------------------------------------------------------- variants

empty :=
space := $(empty) $(empty)
comma := ,

# Folder of the variant with these sanitizers, and the other settings as given.
variant = build$(addprefix /,$(subst $(space),-,$(strip \
	$(if $(findstring clang,$(CC)),clang) \
	$(if $(1),san-$(subst $(comma),-,$(1))) $(if $(COV),cov))))

# Unit and crash tests run with sanitizers; with others only if asked to.
check_san := $(if $(SAN),$(SAN),address$(comma)undefined)

ifdef FUZZ
CC := clang
SAN := fuzzer-no-link,address,undefined
V := build/fuzz
else
V := $(call variant,$(SAN))
endif
SAN_V := $(call variant,$(check_san))
TSAN_V := $(call variant,thread)

OBJ := $(V)/obj
BIN := $(V)/bin
LIB := $(V)/libcfs.a
SHARED := $(V)/libcfs.so.$(VERSION)
COMMON := $(V)/libcommon.a
TESTLIB := $(V)/libtest.a

# ------------------------------------------------------------------- flags

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wundef -Wpointer-arith -Werror
ifneq ($(findstring clang,$(CC)),)
WARN += -Wno-gnu
endif
CPPFLAGS_CFS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
	-DCFS_VERSION='"$(VERSION)"' -Ilibcore
# What runs with sanitizers spends its time in them and in the kernel: -O1 takes
# little more than half the time to compile and runs as fast, and line numbers
# are all that their reports need.
CFLAGS ?= $(if $(SAN:fuzzer%=),-O1 -g1,-O2 -g)
CFLAGS_CFS := -std=gnu11 -fPIC -fno-semantic-interposition -pthread \
	-fno-strict-aliasing $(WARN)
LDFLAGS_CFS := -pthread -Wl,--as-needed

ifneq ($(SAN),)
CFLAGS_CFS += -fsanitize=$(SAN) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
# What the sanitizers insert makes gcc warn of conversions and of values that
# the source does not have; the plain build warns of the real ones.
CFLAGS_CFS += -Wno-sign-conversion -Wno-conversion
ifeq ($(findstring clang,$(CC)),)
CFLAGS_CFS += -Wno-maybe-uninitialized -Wno-stringop-overflow \
	-Wno-format-truncation -Wno-array-bounds
endif
LDFLAGS_CFS += -fsanitize=$(SAN)
else
CFLAGS_CFS += -fstack-protector-strong
endif
ifneq ($(COV),)
CFLAGS_CFS += --coverage
LDFLAGS_CFS += --coverage
endif

# What libcore uses; libarchive is loaded when used.  --as-needed leaves out what a program does not reach.
LIBS := -luring -lblkid -ljansson -ldl -lm
# What one tool uses besides: LIBS_<tool>.  readline is for the shells alone.
LIBS_leasectl := -lreadline
LIBS_slicectl := -lreadline
LIBS_cfsmount := -lfuse3
# A test in which allocations fail.
LIBS_test_session_memory := $(addprefix -Wl$(comma)--wrap=,malloc calloc \
	realloc reallocarray aligned_alloc posix_memalign strdup strndup)

# And one whose clock jumps.
LIBS_test_session_nameless := -Wl,--wrap=cfs_clock_system

# ----------------------------------------------------------------- sources

# SKIP='libcore/tree/%' leaves out what does not compile at the moment.
lib_src := $(filter-out $(SKIP),$(wildcard libcore/*/*.c))
common_src := $(filter-out $(SKIP),$(wildcard cmd/common/*.c))
testlib_src := $(wildcard tests/common/*.c)
tools := $(sort $(patsubst cmd/%/main.c,%,$(wildcard cmd/*/main.c)))
unit := $(sort $(basename $(filter-out $(SKIP), \
	$(wildcard tests/unit/test_*.c))))
crash := $(sort $(basename $(wildcard tests/crash/*.c)))
sim := $(sort $(basename $(wildcard tests/sim/*.c)))
posix := $(sort $(basename $(wildcard tests/posix/*.c)))
fuzzers := $(sort $(basename $(wildcard tests/fuzz/fuzz_*.c)))

obj_of = $(patsubst %.c,$(OBJ)/%.o,$(1))
tool_src = $(wildcard cmd/$(1)/*.c cmd/$(1)/*/*.c)

# A test that needs sources of a tool names them: SRC_<test> := cmd/x/y.c
SRC_test_tgt_fit := cmd/tgt/fit.c

tool_bins := $(addprefix $(BIN)/,$(tools))
unit_bins := $(addprefix $(V)/,$(unit))
crash_bins := $(addprefix $(V)/,$(crash))
sim_bins := $(addprefix $(V)/,$(sim))
posix_bins := $(addprefix $(V)/,$(posix))
corpus_bins := $(addprefix $(V)/,$(fuzzers))
fuzz_bins := $(patsubst tests/fuzz/%,build/fuzz/%,$(fuzzers))

.DEFAULT_GOAL := all
.PHONY: all unit crash sim-bins corpus posix tests-build
.SECONDARY:
.DELETE_ON_ERROR:

all: $(LIB) $(tool_bins)

unit: $(unit_bins)
crash: $(crash_bins)
sim-bins: $(sim_bins)
corpus: $(corpus_bins)
posix: $(posix_bins)
tests-build: all unit crash sim-bins corpus posix

# What catches mutants: simulations, crash tests, and the unit tests that a
# patch names.
mutant_unit := $(addprefix $(V)/tests/,$(shell \
	sed -n 's/^catch: \(unit\/[a-z_]*\).*/\1/p' tests/mutants/*.patch | \
	sort -u))
.PHONY: mutant-bins
mutant-bins: all sim-bins crash $(mutant_unit)

# ------------------------------------------------------------------- rules

# Everything is made beside its name and moved: two makes may run at once.

# Only the folders that may: libcore never sees cmd/, tests see all.
$(OBJ)/cmd/%.o: CPPFLAGS_CFS += -Icmd
$(OBJ)/tests/%.o: CPPFLAGS_CFS += -Icmd -Itests/common

# Called only where the processor has it.
ifneq ($(findstring x86_64,$(shell $(CC) -dumpmachine)),)
$(OBJ)/libcore/base/xxh_avx2.o: CFLAGS_CFS += -mavx2
endif

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	@echo "CC $@"
	@t=$(@:.o=).$$$$; $(CC) $(CPPFLAGS_CFS) $(CPPFLAGS) $(CFLAGS_CFS) \
		$(CFLAGS) -MMD -MP -MT $@ -MF $$t.dtmp -c -o $$t.otmp $< && \
	mv -f $$t.dtmp $(@:.o=.d) && mv -f $$t.otmp $@ || \
	{ rm -f $$t.dtmp $$t.otmp; exit 1; }

# An archive is made anew: a source that is gone must not linger in it.
define archive
@mkdir -p $(@D)
@echo "AR $@"
@t=$@.$$$$; $(AR) rcsD $$t $(filter %.o,$^) && mv -f $$t $@
endef

# The list of members changes when a file goes away; no object then does.
$(V)/members: FORCE
	@mkdir -p $(@D)
	@echo '$(lib_src) $(common_src) $(testlib_src)' | cmp -s - $@ || \
		echo '$(lib_src) $(common_src) $(testlib_src)' >$@
.PHONY: FORCE
FORCE:

$(LIB): $(call obj_of,$(lib_src)) $(V)/members
	$(archive)
$(COMMON): $(call obj_of,$(common_src)) $(V)/members
	$(archive)
$(TESTLIB): $(call obj_of,$(testlib_src)) $(V)/members
	$(archive)

define link
@mkdir -p $(@D)
@echo "LD $@"
@t=$@.$$$$; $(CC) $(LDFLAGS_CFS) $(LDFLAGS) -o $$t $(filter %.o,$^) \
	$(filter %.a,$^) $(1) $(LIBS) && mv -f $$t $@
endef

define tool_rule
$(BIN)/$(1): $(call obj_of,$(call tool_src,$(1))) $(COMMON) $(LIB)
	$$(call link,$$(LIBS_$(1)))
endef
$(foreach t,$(tools),$(eval $(call tool_rule,$(t))))

# The library for other programs; the tools and tests have theirs inside.
soname := libcfs.so.$(firstword $(subst ., ,$(VERSION)))
ifeq ($(SAN)$(COV)$(FUZZ),)
all: $(SHARED)
endif
$(SHARED): LDFLAGS_CFS += -shared -Wl,-z,defs -Wl,-soname,$(soname) \
	-Wl,--version-script=libcore/libcfs.map
$(SHARED): $(call obj_of,$(lib_src)) $(V)/members libcore/libcfs.map
	$(call link,)

define test_rule
$(V)/$(1): $(call obj_of,$(1).c $(SRC_$(notdir $(1)))) \
		$(TESTLIB) $(COMMON) $(LIB)
	$$(call link,$$(LIBS_$(notdir $(1))) -lcmocka)
endef
$(foreach t,$(unit) $(crash) $(sim),$(eval $(call test_rule,$(t))))

# One program of several sources.
torture := $(V)/tests/torture/torture
$(torture): $(call obj_of,$(wildcard tests/torture/*.c)) $(TESTLIB) \
		$(COMMON) $(LIB)
	$(call link,)

# What is run on a mount knows nothing of ours.
$(posix_bins): $(V)/%: $(OBJ)/%.o
	$(call link,)

# Fuzz targets over their corpus, with a main of our own.
define corpus_rule
$(V)/$(1): $(call obj_of,$(1).c tests/fuzz/standalone.c) \
		$(TESTLIB) $(COMMON) $(LIB)
	$$(call link,)
endef
ifndef FUZZ
$(foreach t,$(fuzzers),$(eval $(call corpus_rule,$(t))))
endif

# The same targets with libFuzzer: make fuzz.
ifdef FUZZ
.PHONY: fuzz-bins
fuzz-bins: $(fuzz_bins)
$(fuzz_bins): LDFLAGS_CFS += -fsanitize=fuzzer
$(fuzz_bins): build/fuzz/%: $(OBJ)/tests/fuzz/%.o $(TESTLIB) $(COMMON) $(LIB)
	$(call link,)
endif

# A shared object for nbdkit, where its header is installed.
plugin_src := $(wildcard cmd/nbdkit/*.c)
ifneq ($(plugin_src),)
ifneq ($(wildcard /usr/include/nbdkit-plugin.h),)
ifeq ($(SAN),)
all: $(BIN)/nbdkit-cfs-plugin.so
endif
endif
endif
$(BIN)/nbdkit-cfs-plugin.so: LDFLAGS_CFS += -shared
$(BIN)/nbdkit-cfs-plugin.so: $(call obj_of,$(plugin_src)) $(COMMON) $(LIB)
	$(call link,$(LIBS_nbdkit))

# A backing store for tgtd, which has no header; it finds tgtd's functions when
# it is loaded, and shows it only the two names that it looks for.
store_src := $(wildcard cmd/tgt/*.c)
ifeq ($(SAN)$(FUZZ),)
all: $(BIN)/bs_cfs.so
endif
$(BIN)/bs_cfs.so: LDFLAGS_CFS += -shared \
	-Wl,--version-script=cmd/tgt/bs_cfs.map
$(BIN)/bs_cfs.so: $(call obj_of,$(store_src)) $(LIB) cmd/tgt/bs_cfs.map
	$(call link,)

# A script that finds both beside it, and is found beside cfsd.
all: $(BIN)/cfs-export
$(BIN)/cfs-export: contrib/cfs-export
	@mkdir -p $(@D)
	@install -m 755 $< $@

# ------------------------------------------------------------------ checks

.PHONY: deps check check-unit check-bats check-crash check-sim check-real
.PHONY: check-fuzz check-beside check-mount check-package check-torture torture
.PHONY: check-model check-mutants check-long check-layers lint bench demo fuzz install clean coverage

SAN_MAKE = +@$(MAKE) --no-print-directory 'SAN=$(check_san)'
TSAN_MAKE = +@$(MAKE) --no-print-directory SAN=thread
RUN_TESTS = +@CFS_VARIANT=$(V) CFS_SAN_VARIANT=$(SAN_V) \
	CFS_TSAN_VARIANT=$(TSAN_V) contrib/run-tests $(if $(ONLY),--only $(ONLY))
mt_bins := $(patsubst %,$(TSAN_V)/%,$(filter %_mt,$(unit)))

deps:
	@contrib/install-deps

.PHONY: build-unit build-crash build-corpus build-san
build-unit:
	$(SAN_MAKE) unit
	$(if $(mt_bins),$(TSAN_MAKE) $(mt_bins))
build-crash: crash
	$(SAN_MAKE) crash
build-corpus:
	$(SAN_MAKE) corpus
build-san:
	$(SAN_MAKE) unit crash corpus
	$(if $(mt_bins),$(TSAN_MAKE) $(mt_bins))

# What is missing is installed before anything is compiled: hence the
# sub-make.  What could not even be built counts as one failure.
check: deps
	+@rm -f build/count; $(MAKE) --no-print-directory check-all || { \
		[ -e build/count ] || echo '0 passed, 1 failed'; exit 1; }
.PHONY: check-all
check-all: mutant-bins posix crash build-san $(torture)
	$(RUN_TESTS) unit fuzz model package crash sim mutants torture real \
		mount bats beside-some

check-unit: build-unit
	$(RUN_TESTS) unit
check-bats: all
	$(RUN_TESTS) bats
check-beside: all
	$(RUN_TESTS) beside
check-crash: build-crash
	$(RUN_TESTS) crash
check-sim: sim-bins
	$(RUN_TESTS) sim
check-model:
	$(RUN_TESTS) model
check-mutants: mutant-bins
	$(RUN_TESTS) mutants
check-torture: all $(torture)
	$(RUN_TESTS) torture
check-package:
	$(RUN_TESTS) package
check-real: all
	$(RUN_TESTS) real
check-mount: all posix
	$(RUN_TESTS) mount
check-fuzz: build-corpus
	$(RUN_TESTS) fuzz
check-long: mutant-bins posix build-san fuzz $(torture)
	-@contrib/install-deps --long
	$(RUN_TESTS) --long unit fuzz model package crash sim mutants torture \
		real mount bats beside

# The simulation alone: seeds FIRST .. FIRST + SEEDS - 1, in JOBS processes;
# with VERBOSE=1 each tells its story.
.PHONY: sim mutants
sim: sim-bins
	@for p in $(if $(ONLY),$(filter %$(ONLY),$(sim_bins)),$(sim_bins)); do \
		SEEDS='$(SEEDS)' FIRST='$(FIRST)' VERBOSE='$(VERBOSE)' \
		JOBS='$(JOBS)' $$p || exit 1; \
	done

# SECONDS of killing, from SEED.
torture: all $(torture)
	@PATH="$$PWD/$(BIN):$$PATH" $(torture) $(or $(SECONDS),60) $(SEED)

# MUTANT=name: that one alone.
mutants: mutant-bins
	+@CFS_VARIANT=$(V) contrib/run-mutants $(MUTANT)

check-layers:
	@contrib/check-layers

tidy_src := $(lib_src) $(wildcard cmd/*/*.c cmd/*/*/*.c tests/*/*.c bench/*.c)
tidy_stamps := $(patsubst %.c,build/lint/%.tidy,$(tidy_src))
build/lint/cmd/%.tidy: CPPFLAGS_CFS += -Icmd
build/lint/tests/%.tidy: CPPFLAGS_CFS += -Icmd -Itests/common
build/lint/%.tidy: %.c .clang-tidy contrib/tidy
	@contrib/tidy $@ $< $(CPPFLAGS_CFS) -std=gnu11

.PHONY: lint-tidy
lint-tidy: $(tidy_stamps)

lint:
	+@contrib/lint
	+@$(MAKE) --no-print-directory -k lint-tidy
	@echo 'lint: clean'

bench: all
	@if [ -x bench/run ]; then CASE='$(CASE)' bench/run $(CASE); \
	else echo 'bench: there is no bench/run' >&2; exit 1; fi

# What is missing may be of no use here: without it the build has the word.
demo:
	-@contrib/install-deps
	+@$(MAKE) --no-print-directory all
	@contrib/demo

fuzz:
	+@$(MAKE) --no-print-directory FUZZ=1 fuzz-bins

coverage:
	+@$(MAKE) --no-print-directory COV=1 unit
	-@CFS_SAN_VARIANT=build/cov CFS_TSAN_VARIANT= contrib/run-tests unit
	@contrib/coverage build/cov

install: all
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' \
		contrib/install $(V) $(VERSION)

clean:
	@rm -rf build

deps_dirs := $(wildcard $(OBJ) build/lint)
deps_files := $(if $(deps_dirs),$(shell find $(deps_dirs) -name '*.d'))
-include $(deps_files)
