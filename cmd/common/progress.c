/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The progress line.  It shares standard error with messages: whoever prints
 * one goes through cfs_stderr_line, which takes the line away first, so that
 * no message ends up behind half a percentage.
 *
 * Only one thread draws at a time, and a worker never waits for a terminal
 * that another is drawing on: it only leaves its number.
 */
#include "common/progress.h"

#include "base/clock.h"
#include "base/units.h"
#include "common/tool_priv.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FIRST_NS      CFS_NS_PER_S
#define LINE_EVERY_NS (200 * CFS_NS_PER_MS)
#define JSON_EVERY_NS CFS_NS_PER_S

enum how { HOW_SILENT, HOW_LINE, HOW_JSON };

struct cfs_progress {
	struct cfs_cmd *cmd;
	const char *tool;
	const char *task;
	const char *unit;
	enum how how;
	bool is_always; /* no second of grace */
	bool is_terminal;
	bool is_bytes; /* --bytes */
	uint64_t begin_ns;
	_Atomic uint64_t next_ns; /* when to draw again */
	_Atomic uint64_t done;
	_Atomic uint64_t total;
};

/* Guards standard error and what is drawn there. */
static pthread_mutex_t stderr_lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_drawn;

static uint64_t now_ns(void)
{
	return cfs_clock_elapsed_ns(cfs_clock_system());
}

static void erase_locked(void)
{
	if (!is_drawn)
		return;
	(void)cfs_write_all(STDERR_FILENO, "\r\033[K", 4);
	is_drawn = false;
}

void cfs_stderr_line(const char *fmt, ...)
{
	char text[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n] = '\n';
	pthread_mutex_lock(&stderr_lock);
	erase_locked();
	/* One write: lines of several processes do not mix. */
	(void)cfs_write_all(STDERR_FILENO, text, (size_t)n + 1);
	pthread_mutex_unlock(&stderr_lock);
}

/* What is left at the rate so far; false: not to be told yet. */
static bool estimate(const struct cfs_progress *p, uint64_t elapsed_ns,
		     uint64_t *ret_left_ns)
{
	uint64_t done = p->done, total = p->total;
	double left;

	if (!done || !total || done > total)
		return false;
	left = (double)elapsed_ns * ((double)(total - done) / (double)done);
	if (left > 1e18)
		return false;
	*ret_left_ns = (uint64_t)left;
	return true;
}

static uint64_t rate(const struct cfs_progress *p, uint64_t elapsed_ns)
{
	double seconds = (double)elapsed_ns / 1e9;

	return seconds > 0 ? (uint64_t)((double)p->done / seconds) : 0;
}

/* A count in the unit of the work. */
static void put_count(FILE *to, const struct cfs_progress *p, uint64_t count)
{
	char text[CFS_SIZE_TEXT_BYTES];

	if (strcmp(p->unit, "bytes") != 0)
		fprintf(to, "%llu %s", (unsigned long long)count, p->unit);
	else if (p->is_bytes)
		fprintf(to, "%llu", (unsigned long long)count);
	else
		fputs(cfs_size_format(count, text), to);
}

/* "scrub: 1.5 GiB of 3 GiB, 50 %, 210 MiB/s, 7 s left" */
static void put_line(FILE *to, const struct cfs_progress *p)
{
	char text[CFS_DURATION_TEXT_BYTES];
	uint64_t elapsed_ns = now_ns() - p->begin_ns;
	uint64_t done = p->done, total = p->total, left_ns;

	fprintf(to, "%s: ", p->task);
	put_count(to, p, done);
	if (total) {
		fputs(" of ", to);
		put_count(to, p, total);
		fprintf(to, ", %u %%",
			done >= total ? 100u
				      : (unsigned int)((double)done * 100 /
						       (double)total));
	}
	fputs(", ", to);
	put_count(to, p, rate(p, elapsed_ns));
	fputs("/s", to);
	/* Under a second "0 s left" says nothing. */
	if (estimate(p, elapsed_ns, &left_ns)) {
		left_ns -= left_ns % CFS_NS_PER_S;
		fprintf(to, ", %s left", cfs_duration_format(left_ns, text));
	}
}

static void put_json(FILE *to, const struct cfs_progress *p, bool is_done)
{
	uint64_t elapsed_ns = now_ns() - p->begin_ns;
	struct cfs_out *out = NULL;
	char schema[128];
	uint64_t left_ns;

	(void)snprintf(schema, sizeof(schema), "cfs.%s.progress", p->tool);
	if (cfs_out_new(schema, 1, &out, NULL) < 0)
		return;
	cfs_out_str(out, "task", p->task);
	cfs_out_str(out, "unit", p->unit);
	cfs_out_u64(out, "done", p->done);
	if (p->total)
		cfs_out_u64(out, "total", p->total);
	else
		cfs_out_null(out, "total");
	cfs_out_u64(out, "per_second", rate(p, elapsed_ns));
	cfs_out_u64(out, "elapsed_ns", elapsed_ns);
	if (estimate(p, elapsed_ns, &left_ns))
		cfs_out_u64(out, "left_ns", left_ns);
	else
		cfs_out_null(out, "left_ns");
	cfs_out_bool(out, "is_done", is_done);
	(void)cfs_out_dump(out, true, to, NULL);
	cfs_out_free(out);
}

/* Room of the terminal for a line; the last column stays free. */
static size_t line_bytes_max(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		return (size_t)size.ws_col - 1;
	return 79;
}

/*
 * Write one report.  @is_line: a line that stays, ending in a newline; else
 * drawn over the one before where that is a terminal.
 */
static void draw_locked(struct cfs_progress *p, bool is_line, bool is_done)
{
	char *text = NULL;
	size_t length_bytes = 0;
	FILE *to = open_memstream(&text, &length_bytes);

	if (!to)
		return;
	if (p->how == HOW_JSON)
		put_json(to, p, is_done);
	else
		put_line(to, p);
	if (fclose(to) || !text) {
		free(text);
		return;
	}
	erase_locked();
	if (p->how != HOW_JSON && !is_line && p->is_terminal &&
	    length_bytes > line_bytes_max())
		length_bytes = line_bytes_max();
	(void)cfs_write_all(STDERR_FILENO, text, length_bytes);
	if (p->how != HOW_JSON && (is_line || !p->is_terminal))
		(void)cfs_write_all(STDERR_FILENO, "\n", 1);
	else
		is_drawn = p->how != HOW_JSON;
	free(text);
}

static enum how choose(const struct cfs_cmd *cmd, bool *ret_is_always)
{
	const char *how = "auto";

	if (cfs_args_knows(&cmd->args, "progress"))
		how = cfs_cmd_str(cmd, "progress", "auto");
	*ret_is_always = !strcmp(how, "always");
	if (!strcmp(how, "json"))
		return HOW_JSON;
	if (*ret_is_always)
		return HOW_LINE;
	if (!strcmp(how, "never") || cmd->is_quiet || !isatty(STDERR_FILENO))
		return HOW_SILENT;
	return HOW_LINE;
}

struct cfs_progress *cfs_progress_begin(struct cfs_cmd *cmd, const char *task,
					const char *unit, uint64_t total)
{
	struct cfs_progress *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cmd = cmd;
	p->tool = cmd->tool->name;
	p->task = task;
	p->unit = unit;
	p->is_bytes = cmd->is_bytes;
	p->how = choose(cmd, &p->is_always);
	p->is_terminal = isatty(STDERR_FILENO) != 0;
	p->begin_ns = now_ns();
	p->next_ns = p->begin_ns + (p->is_always ? 0 : FIRST_NS);
	p->total = total;
	(void)cfs_signals_take_usr1(); /* asked before there was an answer */
	cmd->progress = p;
	return p;
}

void cfs_progress_update(void *progress, uint64_t done, uint64_t total)
{
	struct cfs_progress *p = progress;
	bool is_asked, is_due;
	uint64_t now;

	if (!p)
		return;
	p->done = done;
	if (total)
		p->total = total;
	is_asked = cfs_signals_take_usr1();
	if (p->how == HOW_SILENT && !is_asked)
		return;
	now = now_ns();
	is_due = p->how != HOW_SILENT && now >= p->next_ns;
	if (!is_asked && !is_due)
		return;
	if (is_asked)
		pthread_mutex_lock(&stderr_lock);
	else if (pthread_mutex_trylock(&stderr_lock) != 0)
		return;
	p->next_ns = now + (p->how == HOW_LINE && p->is_terminal
				    ? LINE_EVERY_NS
				    : JSON_EVERY_NS);
	draw_locked(p, is_asked, false);
	pthread_mutex_unlock(&stderr_lock);
}

void cfs_cmd_progress(void *cmd, uint64_t done, uint64_t total)
{
	const struct cfs_cmd *c = cmd;

	cfs_progress_update(c->progress, done, total);
}

void cfs_progress_end(struct cfs_progress *progress)
{
	if (!progress)
		return;
	pthread_mutex_lock(&stderr_lock);
	erase_locked();
	/* The last word: what was reached, however short the work was. */
	if (progress->how == HOW_JSON || progress->is_always)
		draw_locked(progress, true, true);
	pthread_mutex_unlock(&stderr_lock);
	progress->cmd->progress = NULL;
	free(progress);
}
