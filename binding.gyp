{
  # CMakeLists.txt is the build. This only lets `node-gyp rebuild` drive it. It stays out of the package: with it there, `npm ci` of a
  # consumer would run node-gyp.
  'targets': [
    {
      'target_name': 'signstep',
      'type': 'none',
      'actions': [
        {
          'action_name': 'cmake',
          'message': 'cmake-js build',
          'inputs': ['CMakeLists.txt'],
          'outputs': ['<(PRODUCT_DIR)/signstep.node'],
          'action': [
            'node', '<!(node -p "require.resolve(\'cmake-js/bin/cmake-js\')")',
            'build', '--out', 'build/cmake', '--config', '<(CONFIGURATION_NAME)',
          ],
        },
      ],
    },
  ],
}
