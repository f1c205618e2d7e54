/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a command writes, and when.  Collected text and JSON go to standard
 * output at the very end and only if all went well; streams and raw bytes
 * are the exceptions, and once one has begun the collected output is void.
 *
 * stdio is not used for standard output, so that each failed write is seen
 * where it happens: a closed pipe is not an error, a full disk is.
 */
#include "common/tool_priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cfs_write_all(int fd, const void *bytes, size_t length_bytes)
{
	const char *p = bytes;
	ssize_t n;

	while (length_bytes) {
		n = write(fd, p, length_bytes);
		if (n < 0 && errno == EINTR && !cfs_cmd_is_stopped(NULL))
			continue;
		if (n < 0)
			return -errno;
		p += n;
		length_bytes -= (size_t)n;
	}
	return 0;
}

static void print(struct cfs_cmd *cmd, const char *fmt, va_list ap)
	CFS_PRINTF(2, 0);
static void print(struct cfs_cmd *cmd, const char *fmt, va_list ap)
{
	(void)vfprintf(cmd->text, fmt, ap);
}

void cfs_cmd_print(struct cfs_cmd *cmd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(cmd, fmt, ap);
	va_end(ap);
}

void cfs_cmd_say(struct cfs_cmd *cmd, const char *fmt, ...)
{
	va_list ap;

	if (cmd->is_quiet)
		return;
	va_start(ap, fmt);
	print(cmd, fmt, ap);
	va_end(ap);
}

static void note(const struct cfs_cmd *cmd, const char *fmt, va_list ap)
	CFS_PRINTF(2, 0);
static void note(const struct cfs_cmd *cmd, const char *fmt, va_list ap)
{
	char text[CFS_ERR_BYTES];
	struct cfs_err line = CFS_ERR_INIT;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	/* As an error, so that control characters do no harm. */
	(void)cfs_err_set(&line, -EPROTO, "%s", text);
	cfs_stderr_line("%s: %s", cmd->tool->name, line.msg);
}

void cfs_cmd_warn(struct cfs_cmd *cmd, const char *fmt, ...)
{
	va_list ap;

	if (cmd->is_quiet)
		return;
	va_start(ap, fmt);
	note(cmd, fmt, ap);
	va_end(ap);
}

void cfs_cmd_warn_line(void *cmd, const char *line)
{
	cfs_cmd_warn(cmd, "%s", line);
}

void cfs_cmd_detail(struct cfs_cmd *cmd, const char *fmt, ...)
{
	va_list ap;

	if (!cmd->is_verbose)
		return;
	va_start(ap, fmt);
	note(cmd, fmt, ap);
	va_end(ap);
}

/* The document as text; @ret is the caller's. */
static int render_json(const struct cfs_cmd *cmd, bool is_lines, char **ret,
		       size_t *ret_bytes, struct cfs_err *err)
{
	char *buf = NULL;
	size_t length_bytes = 0;
	FILE *f = open_memstream(&buf, &length_bytes);
	int r;

	if (!f)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	if (is_lines)
		r = cfs_out_dump_lines(cmd->out, cmd->items ? cmd->items : "",
				       f, err);
	else
		r = cfs_out_dump(cmd->out, false, f, err);
	if (fclose(f) && r == 0)
		r = cfs_err_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		free(buf);
		return r;
	}
	*ret = buf;
	*ret_bytes = length_bytes;
	return 0;
}

/* The collected text; @ret is the caller's, and the text begins anew. */
static int take_text(struct cfs_cmd *cmd, char **ret, size_t *ret_bytes,
		     struct cfs_err *err)
{
	bool is_bad = ferror(cmd->text) != 0;

	is_bad = fclose(cmd->text) || is_bad;
	*ret = cmd->text_buf;
	*ret_bytes = cmd->text_bytes;
	cmd->text_buf = NULL;
	cmd->text = open_memstream(&cmd->text_buf, &cmd->text_bytes);
	if (!is_bad && cmd->text)
		return 0;
	free(*ret);
	*ret = NULL;
	return cfs_err_set(err, -ENOMEM, "out of memory");
}

static int write_stdout(struct cfs_cmd *cmd, const void *bytes,
			size_t length_bytes, struct cfs_err *err)
{
	int r = cfs_write_all(STDOUT_FILENO, bytes, length_bytes);

	if (r == -EPIPE)
		cmd->is_pipe_closed = true;
	if (r < 0)
		return cfs_err_errno(err, r, "standard output");
	return 0;
}

int cfs_cmd_write(void *cmd, const void *bytes, size_t length_bytes,
		  struct cfs_err *err)
{
	struct cfs_cmd *c = cmd;

	c->owns_stdout = true;
	return write_stdout(c, bytes, length_bytes, err);
}

/* Collect and write, as lines or as a whole. */
static int flush(struct cfs_cmd *cmd, bool is_lines)
{
	size_t length_bytes = 0;
	char *bytes = NULL;
	int r;

	if (cmd->is_json)
		r = render_json(cmd, is_lines, &bytes, &length_bytes,
				&cmd->err);
	else
		r = take_text(cmd, &bytes, &length_bytes, &cmd->err);
	if (r == 0)
		r = write_stdout(cmd, bytes, length_bytes, &cmd->err);
	free(bytes);
	return r;
}

int cfs_cmd_stream(struct cfs_cmd *cmd)
{
	int r;

	cmd->owns_stdout = true;
	r = flush(cmd, true);
	if (r == 0)
		r = cfs_cmd_set_schema(cmd, cmd->verb->name);
	return r;
}

void cfs_cmd_finish(struct cfs_cmd *cmd)
{
	int r;

	if (!cmd->out || !cmd->text || cmd->owns_stdout ||
	    (cmd->has_failed && !cmd->keeps_output))
		return;
	r = flush(cmd, cmd->is_json_lines);
	if (r == -EPIPE)
		cmd->is_pipe_closed = false; /* the work itself is done */
	else if (r < 0)
		cfs_cmd_fail(cmd, NULL, &cmd->err);
}
