/** The version of the tool, from package.json. */
import manifest from '../../package.json' with { type: 'json' };

export const TOOL_VERSION: string = manifest.version;
