/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What stands behind -o: options of ours, those of mount(8) that concern us or
 * the kernel, and those that are for mount(8) alone and are no business of a
 * file system.  Anything else is misuse, so that a typing error is seen.
 */
#include "cfsmount/cfsmount.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Handed on to libfuse and the kernel. */
static const char *const handed_on[] = {
	"suid", "nosuid", "dev",     "nodev",      "exec", "noexec",
	"sync", "async",  "dirsync", "nodiratime", NULL,
};

/* Of mount(8), systemd and their like; x-... as well. */
static const char *const ignored[] = {
	"defaults",
	"auto",
	"noauto",
	"nofail",
	"_netdev",
	"user",
	"nouser",
	"users",
	"owner",
	"group",
	"lazytime",
	"nolazytime",
	"diratime",
	"default_permissions",
	"nostrictatime",
	"iversion",
	"noiversion",
	"mand",
	"nomand",
	"rw",
	"loud",
	"silent",
	NULL,
};

static bool is_in(const char *const *list, const char *word)
{
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

int mnt_options_add(struct cfs_cmd *cmd, struct mnt_options *opt,
		    const char *fuse)
{
	char *text = NULL;

	if (asprintf(&text, "%s%s%s", opt->fuse ? opt->fuse : "",
		     opt->fuse ? "," : "", fuse) < 0)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	free(opt->fuse);
	opt->fuse = text;
	return 0;
}

static int set_snapdir(struct cfs_cmd *cmd, const char *value,
		       struct mnt_options *ret)
{
	if (strcmp(value, "hidden") == 0)
		ret->snapdir = MNT_SNAPDIR_HIDDEN;
	else if (strcmp(value, "visible") == 0)
		ret->snapdir = MNT_SNAPDIR_VISIBLE;
	else if (strcmp(value, "off") == 0)
		ret->snapdir = MNT_SNAPDIR_OFF;
	else
		return cfs_cmd_usage(cmd,
				     "-o snapdir=%s: not one of hidden, "
				     "visible, off",
				     value);
	return 0;
}

static int set_one(struct cfs_cmd *cmd, const char *word,
		   struct mnt_options *ret)
{
	if (strcmp(word, "ro") == 0) {
		ret->is_read_only = true;
	} else if (strcmp(word, "allow_other") == 0) {
		ret->has_no_other = false;
	} else if (strcmp(word, "noallow_other") == 0) {
		ret->has_no_other = true;
	} else if (strcmp(word, "noatime") == 0 ||
		   strcmp(word, "norelatime") == 0) {
		ret->has_relatime = false;
	} else if (strcmp(word, "relatime") == 0 ||
		   strcmp(word, "atime") == 0 ||
		   strcmp(word, "strictatime") == 0) {
		ret->has_relatime = true;
	} else if (strcmp(word, "cache") == 0) {
		ret->has_cache = true;
	} else if (strcmp(word, "nocache") == 0) {
		ret->has_cache = false;
	} else if (strncmp(word, "snapdir=", 8) == 0) {
		return set_snapdir(cmd, word + 8, ret);
	} else if (is_in(handed_on, word)) {
		return mnt_options_add(cmd, ret, word);
	} else if (!is_in(ignored, word) && strncmp(word, "x-", 2) != 0 &&
		   strncmp(word, "X-", 2) != 0 &&
		   strncmp(word, "comment=", 8) != 0) {
		return cfs_cmd_usage(cmd, "-o %s: unknown option", word);
	}
	return 0;
}

int mnt_options_parse(struct cfs_cmd *cmd, const char *text,
		      struct mnt_options *ret)
{
	CFS_CLEANUP(cfs_freep) char *copy = strdup(text);
	char *rest = copy, *word;
	int r = 0;

	if (!copy)
		return cfs_err_set(&cmd->err, -ENOMEM, "out of memory");
	while (r == 0 && (word = strsep(&rest, ",")))
		if (*word)
			r = set_one(cmd, word, ret);
	return r;
}

void mnt_options_done(struct mnt_options *opt)
{
	free(opt->fuse);
	opt->fuse = NULL;
}
