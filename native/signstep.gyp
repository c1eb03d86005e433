{
  # For addons that use signstep through the table in `capi` and need its header only:
  #   'dependencies': ["<!(node -e \"import('signstep/native').then((n) => console.log(n.gyp))\"):signstep_headers"]
  'targets': [
    {
      'target_name': 'signstep_headers',
      'type': 'none',
      'direct_dependent_settings': { 'include_dirs': ['include'] },
    },
  ],
}
