/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tgtd loads stores from one folder, which is compiled in.  Where ours lies
 * elsewhere (a build folder, /usr/local) cfs-export has it preloaded instead,
 * and it registers itself when tgtd begins to look into that folder, as a store
 * that was found there would.
 *
 * Mounts of a namespace of tgtd's own would do that, too; but they would keep
 * every mount of this host alive that somebody wants to be rid of.
 */
#include "tgt/module.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static bool is_stores(const char *path)
{
	static const char end[] = "/tgt/backing-store";
	const size_t n = strlen(path);

	return n >= sizeof(end) - 1 &&
	       strcmp(path + n - (sizeof(end) - 1), end) == 0;
}

/* In place of the C library's, which it calls. */
DIR *opendir(const char *path)
{
	DIR *(*next)(const char *);
	void *found = dlsym(RTLD_NEXT, "opendir");

	memcpy(&next, &found, sizeof(next));
	if (!next) {
		errno = ENOSYS;
		return NULL;
	}
	if (is_stores(path))
		register_bs_module();
	return next(path);
}
