{
  'targets': [
    {
      'target_name': 'distance',
      'sources': ['addon.c'],
      'defines': ['NAPI_VERSION=9'],
      # In a project that has installed signstep:
      #   "<!(node -e \"import('signstep/native').then((n) => console.log(n.gyp))\"):signstep_headers"
      'dependencies': ['../../native/signstep.gyp:signstep_headers'],
    },
  ],
}
