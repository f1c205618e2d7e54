/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the library says what is not an error of the call at hand: a device
 * that is missing from a mirror, a block that was healed.  It never prints;
 * whoever made the logger decides.  No logger (NULL) is one that is silent.
 */
#pragma once

#include "base/err.h"

enum cfs_log_level {
	CFS_LOG_WARNING, /* somebody should do something */
	CFS_LOG_NOTICE,  /* somebody may want to know */
	CFS_LOG_DEBUG,   /* for -v */
};

struct cfs_logger {
	/*
	 * @line is one line without its newline, shown safely on terminals,
	 * valid during the call.  May be called from any thread, and with
	 * locks of the library held: it must not call back into it.
	 */
	void (*write)(void *context, enum cfs_log_level level,
		      const char *line);
	void *context;
	enum cfs_log_level max_level; /* what is above is not formatted */
};

/* Never fails and leaves errno alone.  @logger may be NULL. */
void cfs_logger_printf(const struct cfs_logger *logger,
		       enum cfs_log_level level, const char *fmt, ...)
	CFS_PRINTF(3, 4);
