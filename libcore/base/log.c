/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define LINE_BYTES 1024u

void cfs_logger_printf(const struct cfs_logger *logger,
		       enum cfs_log_level level, const char *fmt, ...)
{
	int saved_errno = errno;
	char raw[LINE_BYTES], line[LINE_BYTES];
	va_list ap;
	char *p;

	if (!logger || !logger->write || level > logger->max_level)
		return;
	va_start(ap, fmt);
	if (vsnprintf(raw, sizeof(raw), fmt, ap) < 0)
		raw[0] = '\0';
	va_end(ap);
	/* Backslashes stand: callers escape names, and not twice. */
	cfs_text_escape(line, sizeof(line), raw, strlen(raw));
	for (p = line; (p = strstr(p, "\\\\")); p++)
		memmove(p, p + 1, strlen(p));
	logger->write(logger->context, level, line);
	errno = saved_errno;
}
