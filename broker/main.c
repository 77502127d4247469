#include "broker/settings.h"
#include "broker/shell.h"

int main(int argc, char **argv)
{
	struct brk_settings settings = { 0 };
	enum brk_exit code = BRK_EXIT_OK;
	enum base_conf_outcome outcome = base_conf_read(&brk_program, &settings, argc, argv, NULL);

	if (outcome == BASE_CONF_WRONG)
		code = BRK_EXIT_USAGE;
	else if (outcome == BASE_CONF_RUN)
		code = brk_shell_run(&settings);
	base_conf_free(&brk_program, &settings);
	return (int)code;
}
