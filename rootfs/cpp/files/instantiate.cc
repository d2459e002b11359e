// A plug-in for the compilations that make the precompiled headers: `#pragma runtools instantiate` instantiates all templates
// that the header's own inline functions use.
//
// GCC leaves these for the end of a translation unit, and a precompiled header ends before that: so each program that includes it
// instantiates the same 3,000 functions, std::format's most of all, for 0.5 s, and drops them as unused. Here they are instantiated once.
// Clang has this as -fpch-instantiate-templates. Functions are then seen in another order, so that GCC may inline others; what they do
// is the same.
#include "gcc-plugin.h"
#include "tree.h"
#include "cp/cp-tree.h"
#include "c-family/c-pragma.h"
#include "plugin-version.h"

int plugin_is_GPL_compatible;

// use_virtuals marks the virtual functions of instantiated classes as used, as the end of a translation unit would when it emits their
// tables, and tells how many were not.
static unsigned use_virtuals(tree type)
{
	unsigned count = 0;
	if (!CLASSTYPE_TEMPLATE_INSTANTIATION(type))
		return 0;
	for (tree table = CLASSTYPE_VTABLES(type); table; table = DECL_CHAIN(table)) {
		if (!DECL_INITIAL(table) || TREE_CODE(DECL_INITIAL(table)) != CONSTRUCTOR)
			continue;
		unsigned i;
		tree value;
		FOR_EACH_CONSTRUCTOR_VALUE(CONSTRUCTOR_ELTS(DECL_INITIAL(table)), i, value) {
			STRIP_NOPS(value);
			if (TREE_CODE(value) != ADDR_EXPR && TREE_CODE(value) != FDESC_EXPR)
				continue;
			tree function = TREE_OPERAND(value, 0);
			if (TREE_CODE(function) == FUNCTION_DECL && !DECL_ODR_USED(function) && !DECL_THUNK_P(function) && !DECL_PURE_VIRTUAL_P(function)) {
				mark_used(function);
				count++;
			}
		}
	}
	return count;
}

static void instantiate(cpp_reader *)
{
	unsigned used;
	do {
		instantiate_pending_templates(0);
		used = 0;
		for (unsigned i = 0; i < vec_safe_length(keyed_classes); i++)
			used += use_virtuals((*keyed_classes)[i]);
	} while (used);
}

static void add_pragma(void *, void *)
{
	c_register_pragma("runtools", "instantiate", instantiate);
}

int plugin_init(plugin_name_args *plugin, plugin_gcc_version *version)
{
	if (!plugin_default_version_check(version, &gcc_version))
		return 1;
	register_callback(plugin->base_name, PLUGIN_PRAGMAS, add_pragma, nullptr);
	return 0;
}
