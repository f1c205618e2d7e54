/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Where the mount is by now.  It may have been moved with a directory above it,
 * somebody may have mounted something else over it, or it is gone from the names
 * while files of it are open: what stands at the path by which it was made need
 * not be ours, and is not ours to unmount then.
 */
#include "cfsmount/cfsmount.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* As the kernel writes what would end a field: backslash, three digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++, to++) {
		if (at[0] == '\\' && at[1] && at[2] && at[3]) {
			*to = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 |
				     (at[3] - '0'));
			at += 3;
		} else {
			*to = *at;
		}
	}
	*to = '\0';
}

/* The id and the path of a line; the path is a part of it.  NULL: not one. */
static char *parse(char *line, uint64_t *ret_id)
{
	char *at = line, *path;

	*ret_id = strtoull(line, NULL, 10);
	/* id, parent, device, root, path */
	for (int i = 0; i < 4 && at; i++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	path = at ? strsep(&at, " ") : NULL;
	if (path)
		unescape(path);
	return path;
}

/* The mount *@id, or (0) the one that was made last at @path. */
static enum mnt_place look(uint64_t *id, const char *path, char **ret_path)
{
	FILE *from = fopen("/proc/self/mountinfo", "re");
	enum mnt_place place = MNT_PLACE_GONE;
	const uint64_t wanted = *id;
	char *line = NULL, *at;
	uint64_t this_id;
	size_t room = 0;

	if (!from)
		return MNT_PLACE_UNKNOWN;
	while (getline(&line, &room, from) >= 0) {
		at = parse(line, &this_id);
		if (!at || (wanted ? this_id != wanted : strcmp(at, path) != 0))
			continue;
		free(*ret_path);
		*ret_path = strdup(at);
		*id = this_id;
		place = *ret_path ? MNT_PLACE_THERE : MNT_PLACE_UNKNOWN;
	}
	free(line);
	(void)fclose(from);
	return place;
}

/* It is what one gets to by @path. */
static bool is_on_top(uint64_t id, const char *path)
{
	struct statx st;

	return statx(AT_FDCWD, path,
		     AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
		     STATX_MNT_ID, &st) == 0 &&
	       (!(st.stx_mask & STATX_MNT_ID) || st.stx_mnt_id == id);
}

void mnt_place_note(struct mnt *m)
{
	char *path = NULL;

	m->mount_id = 0;
	(void)look(&m->mount_id, m->mountpoint, &path);
	free(path);
}

enum mnt_place mnt_place_find(struct mnt *m, char **ret_path)
{
	enum mnt_place place = MNT_PLACE_UNKNOWN;

	*ret_path = NULL;
	if (m->mount_id)
		place = look(&m->mount_id, NULL, ret_path);
	if (place == MNT_PLACE_THERE && !is_on_top(m->mount_id, *ret_path))
		place = MNT_PLACE_COVERED;
	return place;
}
