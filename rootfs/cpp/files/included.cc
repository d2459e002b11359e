// A plug-in for every compilation: messages tell that a precompiled header was included, and where.
//
// GCC leaves that out: "In file included from iostream:41:" ends there, without "from main.cpp:1:", because the header was the main file
// when it was compiled, and the line table of the precompiled header replaces that of the source. Nothing happens before there is a message.
#include "gcc-plugin.h"
#include "tree.h"
#include "diagnostic.h"
#include "plugin-version.h"

int plugin_is_GPL_compatible;

static diagnostic_starter_fn start;

// mend makes the line table what it is without a precompiled header. The first map is of line 0 of the header, where nothing stands: it becomes
// the line of the source that includes it. GCC goes on in the source by entering it, from nowhere, at the line after that.
static void mend()
{
	line_map_ordinary *first = LINEMAPS_ORDINARY_MAP_AT(line_table, 0), *source = nullptr;
	unsigned n = 1, used = LINEMAPS_ORDINARY_USED(line_table);
	for (; n < used && !source; n++) {
		line_map_ordinary *map = LINEMAPS_ORDINARY_MAP_AT(line_table, n);
		if (map->reason == LC_ENTER && map->included_from == 0)
			source = map;
	}
	if (!source || first->to_file == source->to_file)
		return;
	for (unsigned i = 1; i < n; i++) {
		line_map_ordinary *map = LINEMAPS_ORDINARY_MAP_AT(line_table, i);
		if (map->included_from == 0 && strcmp(map->to_file, first->to_file) == 0) {
			map->included_from = first->start_location;
			map->sysp = 1;
		}
	}
	first->to_file = source->to_file;
	first->to_line = source->to_line - 1;
}

static void mend_and_start(diagnostic_context *context, diagnostic_info *diagnostic)
{
	mend();
	start(context, diagnostic);
}

int plugin_init(plugin_name_args *, plugin_gcc_version *version)
{
	if (!plugin_default_version_check(version, &gcc_version))
		return 1;
	start = diagnostic_starter(global_dc);
	diagnostic_starter(global_dc) = mend_and_start;
	return 0;
}
