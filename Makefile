# SPDX-License-Identifier: GPL-3.0-or-later
#
# One makefile, no recursion into folders.  Sources are picked up from the
# tree: a new file needs no line here.
#
#   make                          plain build: build/bin/<tool>, build/libcfs.a
#   make SAN=address,undefined    the same in build/san-address-undefined/
#   make SAN=thread, COV=1, CC=clang
#   make check                    everything; the last line counts
#   make check-unit check-bats check-crash check-sim check-fuzz check-long
#   make lint, bench [CASE=...], demo, fuzz, install, clean
#
# Sub-makes only build other variants of the same tree.

VERSION := 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX ?= /usr/local
DESTDIR ?=

# ---------------------------------------------------------------- variants

ifdef FUZZ
CC := clang
SAN := fuzzer-no-link,address,undefined
V := build/fuzz
else
empty :=
space := $(empty) $(empty)
comma := ,
variant := $(if $(findstring clang,$(CC)),clang)
ifneq ($(SAN),)
variant += san-$(subst $(comma),-,$(SAN))
endif
ifneq ($(COV),)
variant += cov
endif
variant := $(subst $(space),-,$(strip $(variant)))
V := build$(if $(variant),/$(variant))
endif

OBJ := $(V)/obj
BIN := $(V)/bin
LIB := $(V)/libcfs.a
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
CFLAGS ?= -O2 -g
CFLAGS_CFS := -std=gnu11 -fPIC -fno-semantic-interposition -pthread \
	-fno-strict-aliasing $(WARN)
LDFLAGS_CFS := -pthread -Wl,--as-needed

ifneq ($(SAN),)
CFLAGS_CFS += -fsanitize=$(SAN) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
LDFLAGS_CFS += -fsanitize=$(SAN)
else
CFLAGS_CFS += -fstack-protector-strong
endif
ifneq ($(COV),)
CFLAGS_CFS += --coverage
LDFLAGS_CFS += --coverage
endif

# What libcore uses.  --as-needed leaves out what a program does not reach.
LIBS := -luring -lblkid -ljansson -lm
# What one tool uses besides: LIBS_<tool>.
LIBS_cfscp := -larchive
LIBS_mkcfs := -larchive

# ----------------------------------------------------------------- sources

lib_src := $(wildcard libcore/*/*.c)
common_src := $(wildcard cmd/common/*.c)
testlib_src := $(wildcard tests/common/*.c)
tools := $(sort $(patsubst cmd/%/main.c,%,$(wildcard cmd/*/main.c)))
unit := $(sort $(basename $(wildcard tests/unit/test_*.c)))
crash := $(sort $(basename $(wildcard tests/crash/*.c)))
sim := $(sort $(basename $(wildcard tests/sim/*.c)))
fuzzers := $(sort $(basename $(wildcard tests/fuzz/fuzz_*.c)))

obj_of = $(patsubst %.c,$(OBJ)/%.o,$(1))
tool_src = $(wildcard cmd/$(1)/*.c cmd/$(1)/*/*.c)

# A test that needs sources of a tool names them: SRC_<test> := cmd/x/y.c

tool_bins := $(addprefix $(BIN)/,$(tools))
unit_bins := $(addprefix $(V)/,$(unit))
crash_bins := $(addprefix $(V)/,$(crash))
sim_bins := $(addprefix $(V)/,$(sim))
corpus_bins := $(addprefix $(V)/,$(fuzzers))
fuzz_bins := $(patsubst tests/fuzz/%,build/fuzz/%,$(fuzzers))

.DEFAULT_GOAL := all
.PHONY: all unit crash sim corpus tests-build
.SECONDARY:
.DELETE_ON_ERROR:

all: $(LIB) $(tool_bins)

unit: $(unit_bins)
crash: $(crash_bins)
sim: $(sim_bins)
corpus: $(corpus_bins)
tests-build: all unit crash sim corpus

# ------------------------------------------------------------------- rules

# Only the folders that may: libcore never sees cmd/, tests see all.
$(OBJ)/cmd/%.o: CPPFLAGS_CFS += -Icmd
$(OBJ)/tests/%.o: CPPFLAGS_CFS += -Icmd -Itests

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	@echo "CC $@"
	@$(CC) $(CPPFLAGS_CFS) $(CPPFLAGS) $(CFLAGS_CFS) $(CFLAGS) \
		-MMD -MP -c -o $@ $<

# An archive is made anew: a source that is gone must not linger in it.
define archive
@mkdir -p $(@D)
@echo "AR $@"
@rm -f $@
@$(AR) rcsD $@ $(filter %.o,$^)
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
@$(CC) $(LDFLAGS_CFS) $(LDFLAGS) -o $@ $(filter %.o,$^) \
	$(filter %.a,$^) $(1) $(LIBS)
endef

define tool_rule
$(BIN)/$(1): $(call obj_of,$(call tool_src,$(1))) $(COMMON) $(LIB)
	$$(call link,$$(LIBS_$(1)))
endef
$(foreach t,$(tools),$(eval $(call tool_rule,$(t))))

define test_rule
$(V)/$(1): $(call obj_of,$(1).c $(SRC_$(notdir $(1)))) \
		$(TESTLIB) $(COMMON) $(LIB)
	$$(call link,$$(LIBS_$(notdir $(1))) -lcmocka)
endef
$(foreach t,$(unit) $(crash) $(sim),$(eval $(call test_rule,$(t))))

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

# ------------------------------------------------------------------ checks

.PHONY: deps check check-unit check-bats check-crash check-sim check-fuzz
.PHONY: check-long check-layers lint bench demo fuzz install clean coverage

SAN_MAKE = +@$(MAKE) --no-print-directory SAN=address,undefined
TSAN_MAKE = +@$(MAKE) --no-print-directory SAN=thread
mt_unit := $(filter %_mt,$(unit))
mt_bins := $(patsubst %,build/san-thread/%,$(mt_unit))

deps:
	@contrib/install-deps

.PHONY: build-unit build-crash build-sim build-corpus mt-unit
build-unit:
	$(SAN_MAKE) unit
	$(if $(mt_unit),$(TSAN_MAKE) $(mt_bins))
build-crash:
	$(SAN_MAKE) crash
build-sim: sim
build-corpus:
	$(SAN_MAKE) corpus

# The tools are installed before anything is compiled, hence the sub-make.
check: deps
	+@$(MAKE) --no-print-directory check-all
.PHONY: check-all
check-all: all build-unit build-crash build-sim build-corpus
	+@contrib/run-tests unit fuzz crash sim bats

check-unit: build-unit
	+@contrib/run-tests unit
check-bats: all
	+@contrib/run-tests bats
check-crash: build-crash
	+@contrib/run-tests crash
check-sim: build-sim
	+@contrib/run-tests sim
check-fuzz: build-corpus
	+@contrib/run-tests fuzz
check-long: all build-unit build-crash build-sim build-corpus fuzz
	+@contrib/run-tests --long unit fuzz crash sim bats

check-layers:
	@contrib/check-layers

lint:
	+@contrib/lint $(LINT)

bench: all
	@if [ -x bench/run ]; then CASE='$(CASE)' bench/run $(CASE); \
	else echo 'bench: there is no bench/run' >&2; exit 1; fi

demo: all
	@contrib/demo

fuzz:
	+@$(MAKE) --no-print-directory FUZZ=1 fuzz-bins

coverage:
	+@$(MAKE) --no-print-directory COV=1 unit
	+@contrib/run-tests --unit-from build/cov unit
	@contrib/coverage build/cov

man_pages := $(wildcard man/*.[1-8])

install: all
	@install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/sbin'
	@for t in $(tool_bins); do \
		install -m 755 "$$t" '$(DESTDIR)$(PREFIX)/bin/' || exit 1; \
	done
	@if [ -e $(BIN)/cfsck-heal ]; then \
		ln -sf ../bin/cfsck-heal '$(DESTDIR)$(PREFIX)/sbin/fsck.cfs'; \
	fi
	@for m in $(man_pages); do \
		d='$(DESTDIR)$(PREFIX)/share/man/man'"$${m##*.}"; \
		install -d "$$d" && install -m 644 "$$m" "$$d/" || exit 1; \
	done
	@if [ -e $(BIN)/nbdkit-cfs-plugin.so ]; then \
		d='$(DESTDIR)$(PREFIX)/lib/nbdkit/plugins'; \
		install -d "$$d" && \
		install -m 755 $(BIN)/nbdkit-cfs-plugin.so "$$d/"; \
	fi
	@if [ -d completions ]; then contrib/install-completions \
		'$(DESTDIR)$(PREFIX)'; fi

clean:
	@rm -rf build

deps_files := $(shell test -d $(OBJ) && find $(OBJ) -name '*.d')
-include $(deps_files)
