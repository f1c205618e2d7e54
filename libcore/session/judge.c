/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules of taking a device, and of naming a pool. */
#include "session/judge.h"

#include "base/text.h"
#include "ondisk/label.h"

#include <stdio.h>
#include <string.h>

static void describe(const struct cfs_probe *probe,
		     char ret[CFS_JUDGE_TEXT_BYTES])
{
	ret[0] = '\0';
	if (!strcmp(probe->type, "data"))
		(void)snprintf(ret, CFS_JUDGE_TEXT_BYTES, "data");
	else if (probe->type[0] && probe->label[0])
		(void)snprintf(ret, CFS_JUDGE_TEXT_BYTES,
			       "%s with the label \"%s\"", probe->type,
			       probe->label);
	else if (probe->type[0])
		(void)snprintf(ret, CFS_JUDGE_TEXT_BYTES, "%s without a label",
			       probe->type);
}

int cfs_device_judge(const char *path, const struct cfs_probe *probe,
		     bool is_forced, bool may_make,
		     char ret_lost[CFS_JUDGE_TEXT_BYTES], struct cfs_err *err)
{
	char lost[CFS_JUDGE_TEXT_BYTES];

	if (!probe->exists && !may_make)
		return cfs_err_set(err, -ENOENT, "%s: no such file or device",
				   path);
	if (probe->is_in_use)
		return cfs_err_set(err, -EBUSY, "%s: in use: %s", path,
				   probe->used_as);
	describe(probe, lost);
	if (lost[0] && !is_forced)
		return cfs_err_set(err, -EEXIST,
				   "%s: holds %s: give --force "
				   "to overwrite it",
				   path, lost);
	memcpy(ret_lost, lost, sizeof(lost));
	return 0;
}

int cfs_pool_name_check(const char *name, struct cfs_err *err)
{
	char shown[CFS_LABEL_NAME_BYTES];

	if (strlen(name) >= CFS_LABEL_NAME_BYTES)
		return cfs_err_set(err, -EINVAL,
				   "the label is too long: 63 "
				   "bytes at most");
	if (cfs_text_escape(shown, sizeof(shown), name, strlen(name)) !=
	    strlen(name))
		return cfs_err_set(err, -EINVAL,
				   "the label is no printable "
				   "text");
	return 0;
}
