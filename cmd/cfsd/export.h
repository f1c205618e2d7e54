/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Servers of other protocols beside a cfsd: each is a process of its own
 * (cfs-export), a client of the pool as others are, which is started when the
 * pool answers, started again when it ends, and ended before the pool is.
 */
#pragma once

#include "common/cmd.h"

#include <sys/types.h>

enum { EXPORT_KINDS = 4 };

struct export
{
	const char *kind;    /* "nbd", which is the option's name */
	const char *address; /* as given; "": the usual one */
	pid_t pid;           /* 0: does not run */
	char shown[512];     /* where it answers */
	uint64_t started_ns;
	uint64_t pause_ns; /* before the next start */
	uint64_t next_ns;  /* when that is */
};

struct exports {
	const char *pool;
	struct export all[EXPORT_KINDS];
	size_t count;
};

/* What the options ask for. */
void exports_take(const struct cfs_cmd *cmd, const char *pool,
		  struct exports *ret);
/* All of them, each until it answers.  Those that were started run on when it
 * fails.  -ECHILD: what did not start has said why. */
int exports_start(struct cfs_cmd *cmd, struct exports *e);
/* Until a signal asks to stop. */
void exports_watch(struct cfs_cmd *cmd, struct exports *e);
void exports_stop(struct exports *e);
