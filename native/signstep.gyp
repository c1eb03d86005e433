{
  # For addons that use signstep through the table in `capi` and need its header only:
  #   'dependencies': ["<!(node -p \"require('signstep/native').gyp\"):signstep_headers"]
  'targets': [
    {
      'target_name': 'signstep_headers',
      'type': 'none',
      'direct_dependent_settings': { 'include_dirs': ['include'] },
    },
  ],
}
